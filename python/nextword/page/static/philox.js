// The number in [0, 1) that seed, row and step give: Philox 4x64 with ten rounds, bit for bit the library's.
const WORD = (1n << 64n) - 1n;

/** @param {number|bigint} seed @param {number} row @param {number} step @returns {number} */
export function philox(seed, row, step) {
  let c = [1n, BigInt(step), 0n, 0n], key = [BigInt(seed), BigInt(row)];
  for (let round = 0; round < 10; round++) {
    const a = 0xD2E7470EE14C6C93n * c[0], b = 0xCA5A826395121157n * c[2];
    c = [(b >> 64n) ^ c[1] ^ key[0], b & WORD, (a >> 64n) ^ c[3] ^ key[1], a & WORD];
    key = [(key[0] + 0x9E3779B97F4A7C15n) & WORD, (key[1] + 0xBB67AE8584CAA73Bn) & WORD];
  }
  return Number(c[0] >> 11n) / 2 ** 53;
}
