// An answer that is no result.

/** `failure` has the server's {code, message, ...}. */
export class Refused extends Error {
  /** @param {{code: string, message: string}} failure @param {number} status  of HTTP; 0 where nobody answered */
  constructor(failure, status) {
    super(failure.message);
    this.failure = failure;
    this.status = status;
  }
}
