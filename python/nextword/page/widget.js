// The view of a widget: the page in a frame without rights, and messages between that frame and the kernel.
// An ES module by itself, as anywidget takes it. The frame's origin is opaque: "*" reaches that frame alone.

/** @param {{model: any, el: HTMLElement}} context */
function render({ model, el }) {
  const view = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  const frame = document.createElement("iframe");
  frame.setAttribute("sandbox", "allow-scripts");
  frame.title = "nextword";
  frame.style.cssText = "display: block; width: 100%; border: 0";
  const size = () => { frame.style.height = `${model.get("height")}px`; };
  size();

  const down = ({ source, data }) => {
    if (source !== frame.contentWindow || data?.nextword !== 1) return;
    const { id, method, path, body, stop } = data;
    model.send({ view, id, method, path, body, stop });
  };
  const up = (reply, buffers) => {
    if (reply?.view !== view) return;
    if (typeof reply.html === "string") { frame.srcdoc = reply.html; return; }
    const [part] = buffers ?? [];
    const buffer = part && new Uint8Array(part.buffer ?? part, part.byteOffset ?? 0, part.byteLength).slice().buffer;
    frame.contentWindow?.postMessage({ ...reply, buffer }, "*", buffer ? [buffer] : []);
  };
  addEventListener("message", down);
  model.on("msg:custom", up);
  model.on("change:height", size);
  el.append(frame);
  const light = document.body?.dataset.jpThemeLight;  // JupyterLab's theme; elsewhere the system's
  model.send({ view, page: true, theme: light === "true" ? "light" : light === "false" ? "dark" : null });
  return () => {
    removeEventListener("message", down);
    model.off("msg:custom", up);
    model.off("change:height", size);
    model.send({ view, stop: true });
  };
}

export default { render };
