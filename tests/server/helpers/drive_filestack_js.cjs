// Drives the official JavaScript client against a server: an order in JSON on standard input, what came of it as the last line
// of the output (the client talks before that).
"use strict";
const http = require("http");
const fs = require("fs");
const order = JSON.parse(fs.readFileSync(0, "utf8"));

// The Node build of the client passes "host:port" on as a host name (it was made for port 443 only).
const request = http.request;
http.request = (options, ...more) => {
  const [host, port] = String(options.host || "").split(":");
  return request(port ? { ...options, host, hostname: host, port } : options, ...more);
};

const filestack = require("filestack-js");
const security = { policy: order.policy, signature: order.signature };
const client = filestack.init(order.key, { security });
Object.assign(client.session.urls, {
  cdnUrl: order.base,
  processUrl: order.base,
  fileApiUrl: `${order.base}/api/file`,
  uploadApiUrl: order.base,
  cloudApiUrl: order.base,
});

const link = (handle = order.handle) => new filestack.Filelink(handle, order.key);
const signed = (handle) => link(handle).security(security);
const b64 = (made) => made.setBase64(true);
const urls = {
  resize: signed().resize({ width: 100, height: 50, fit: "crop", align: ["top", "left"] }),
  crop: signed().crop({ dim: [10, 20, 60, 40] }),
  chain: link().resize({ width: 300 }).rotate({ deg: 90 }).flip().flop().security(security),
  exif: signed().rotate({ deg: "exif" }),
  watermark: signed().watermark({ file: order.mark, size: 20, position: ["top", "right"] }),
  corners: signed().roundedCorners({ radius: 10, blur: 1.5 }),
  max: signed().roundedCorners({ radius: "max" }),
  vignette: signed().vignette({ amount: 30, blurmode: "linear" }),
  polaroid: signed().polaroid({ rotate: 10, color: "red", background: "CCCCCC" }),
  torn: signed().tornEdges({ spread: [5, 10], background: "white" }),
  shadow: signed().shadow({ blur: 5, opacity: 30, vector: [5, 5], color: "black" }),
  circle: signed().circle(),
  border: signed().border({ width: 5, color: "red" }),
  partial: signed().partialBlur({ amount: 5, objects: [[0, 0, 20, 20], [30, 30, 10, 10]] }),
  collage: signed().collage({ files: [order.mark, order.handle], width: 200, height: 100, margin: 2, color: "blue" }),
  enhance: signed().enhance({ preset: "vivid" }),
  modulate: signed().modulate({ brightness: 120, hue: 20, saturation: 90 }),
  convert: signed().output({ format: "png", background: "white", strip: true, quality: 80 }),
  quality: signed().quality({ value: 30 }),
  plain: signed().noMetadata(),
  auto: signed().autoImage(),
  sepia: signed().sepia({ tone: 50 }),
  cache: signed().resize({ width: 100 }).cache({ expiry: 60 }),
  uncached: signed().resize({ width: 100 }).cache(false),
  fallback: signed().fallback({ handle: order.mark, cache: 10 }).resize({ width: 100 }),
  ascii: signed().ascii({ background: "white", colored: true, size: 20 }),
  imagesize: signed().imagesize(),
  outside: signed(order.outside).resize({ width: 9 }),
  zipped: signed([order.handle, order.mark]).zip(),
  animate: signed([order.handle, order.mark]).animate({ delay: 200, width: 50, height: 50, background: "white" }),
  pdf: signed(order.pdf).PDFInfo({ colorinfo: true }),
  stored: link().resize({ width: 20 }).store({ filename: "small.jpg", path: "some/folder/" }).security(security),
  "b64 resize": b64(link().resize({ width: 100 }).security(security)),
  "b64 outside": b64(link(order.outside).resize({ width: 9 }).security(security)),
  "b64 zipped": b64(link([order.handle, order.mark]).zip().security(security)),
};
const said = { urls: {} };
for (const [name, made] of Object.entries(urls)) said.urls[name] = made.toString();
said.urls.transform = client.transform(order.handle, { resize: { width: 100 }, flip: true });
said.urls["transform b64"] = client.transform(order.handle, { resize: { width: 100 }, flip: true }, true);
said.urls["transform outside"] = client.transform(order.outside, { resize: { width: 9 } });

const hex = (data) => Buffer.from(data).toString("base64");
(async () => {
  said.metadata = await client.metadata(order.handle, { size: true, filename: true, md5: true });
  said.usual = await client.metadata(order.handle);
  said.retrieved = hex(await client.retrieve(order.handle));
  said.head = await client.retrieve(order.handle, { head: true });
  said.extension = hex(await client.retrieve(order.handle, { extension: "jpg" }));
  said.facts = await client.retrieve(order.handle, { metadata: true });
  await client.remove(order.victim);
  await client.remove(order.victim).then(() => (said.gone = "no"), (error) => (said.gone = (error.response && error.response.status) || String(error)));
  await client.removeMetadata(order.other);
  const stranger = filestack.init(order.key);
  await stranger.metadata(order.handle).then(() => (said.refused = "no"), (error) => (said.refused = (error.response && error.response.status) || String(error)));
  process.stdout.write(`\n${JSON.stringify(said)}`);
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
