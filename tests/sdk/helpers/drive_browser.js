// Drives the browser build of the official client in a page of another origin than the server's. `window.drive(order)` gives an
// outcome for each case.
"use strict";
const pieces = (count) => Array.from({ length: count }, (_, index) => `piece ${index}\n`);
const text = async (thing) => (thing instanceof Blob ? thing.text() : thing);
const within = (seconds, promise) =>
  Promise.race([promise, new Promise((_, reject) => setTimeout(reject, seconds * 1000, new Error("the case took too long")))]);
const troubled = (error) => {
  const { message, details, response, status, name } = error;
  const answer = response && { status: response.status, data: response.data };
  return { message: message || name, status, code: details && details.code, answer };
};

window.drive = async (order) => {
  const { key, domain, security, files } = order;
  const client = filestack.init(key, { cname: domain, ...(security ? { security } : {}) });
  const stranger = filestack.init(key, { cname: domain });
  const opened = [];
  window.open = (url, name) => opened.push(url) && null;
  const shown = async (handle, options) => {
    const frame = client.preview(handle, options);
    await new Promise((resolve) => (frame.onload = resolve));
    return { src: frame.src };
  };
  const cases = {
    "upload a Blob": () => client.upload(new Blob(pieces(3), { type: "text/plain" }), {}, { filename: "blob.txt" }),
    "upload a File": () => client.upload(new File(pieces(3), "file.txt", { type: "text/plain" })),
    "upload a named Blob": () => client.upload({ file: new Blob(pieces(3), { type: "text/plain" }), name: "named.txt" }),
    "upload a large Blob": () => client.upload(new Blob(pieces(1000000)), { partSize: 5 * 1024 * 1024 }, { filename: "large.txt" }),
    "upload intelligently": () => client.upload(new Blob(pieces(1000000)), { intelligent: true }, { filename: "clever.txt" }),
    multiupload: async () => {
      const made = ["one.txt", "two.txt"].map((name) => new File([name], name, { type: "text/plain" }));
      return (await client.multiupload(made)).map((file) => file.toJSON());
    },
    storeURL: () => client.storeURL(order.outside),
    metadata: () => client.metadata(files.photo, { size: true, mimetype: true }),
    retrieve: async () => ({ kind: typeof (await client.retrieve(files.photo)) }),
    "retrieve metadata": () => client.retrieve(files.photo, { metadata: true }),
    "retrieve head": () => client.retrieve(files.photo, { head: true }),
    download: async () => ({ size: (await client.download(files.photo)).data.size }),
    remove: async () => ({ status: (await client.remove(order.victims[0], order.always)).status }),
    removeMetadata: async () => ({ status: (await client.removeMetadata(order.victims[1], order.always)).status }),
    prefetch: () => client.prefetch({ pickerOptions: { maxFiles: 2 } }),
    "cloud.list": () => client.cloud.list({ [order.cloud]: { path: "/" } }),
    logout: () => client.logout(),
    "preview in the page": () => shown(files.pdf, { id: "here" }),
    "preview in the page with a style sheet": () => shown(files.pdf, { id: "here", css: "https://styles.example.org/a.css" }),
    "preview in a window": async () => client.preview(files.pdf) || { opened },
    picker: async () => {
      client.picker({ maxFiles: 1 }).open(); // never settles: the client listens for the wrong event of its script
      const script = document.querySelector("script[src*='/picker/']");
      return new Promise((resolve) => script.addEventListener("error", () => resolve({ missing: script.src })));
    },
    "refused metadata": () => stranger.metadata(files.photo),
    "refused upload": () => stranger.upload(new Blob(["x"]), {}, { filename: "x.txt" }),
  };
  const said = {};
  for (const [name, work] of Object.entries(cases)) {
    try {
      const value = await within(order.seconds, Promise.resolve().then(work));
      said[name] = { ok: true, value: value && typeof value.toJSON === "function" ? value.toJSON() : await text(value) };
    } catch (error) {
      said[name] = { ok: false, error: troubled(error) };
    }
  }
  return said;
};
