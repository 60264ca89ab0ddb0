// Drives the official JavaScript client, as its users do: an order in JSON on standard input, one line of JSON per case on the
// output, and at the end which functions of the client ran (V8 counts them) and which it has.
"use strict";
const inspector = require("inspector");
const session = new inspector.Session();
session.connect();
session.post("Profiler.enable");
session.post("Profiler.startPreciseCoverage", { callCount: true, detailed: false });

const fs = require("fs");
const path = require("path");
const filestack = require("filestack-js");
const order = JSON.parse(fs.readFileSync(0, "utf8"));
const { key, domain, files, security, always } = order;
const work = (name) => path.join(order.work, name);
const say = (line) => process.stdout.write(`\n\u001e${JSON.stringify(line)}\n`);
console.warn = console.log = () => {};

// ------------------------------------------------------------------------------------------------------------ telling

/** What an SDK call gave, as JSON. */
const told = (thing) => {
  if (Buffer.isBuffer(thing)) return { base64: thing.toString("base64") };
  if (thing && typeof thing.toJSON === "function") {
    const { container, key, workflows, alt } = thing;
    return { ...thing.toJSON(), container, key, workflows, alt };
  }
  return thing === undefined ? null : thing;
};

/** An error as a user of the SDK can see it. */
const troubled = (error) => {
  const { name, message, type, code, details, response } = error || {};
  const answer = response && { status: response.status, data: told(response.data) };
  const bare = error instanceof Error ? {} : { rejected: told(error) };
  return { name, message, type, code, details: details && { code: details.code, data: told(details.data) }, answer, ...bare };
};

let current = "start";
process.on("uncaughtException", (error) => say({ uncaught: current, error: troubled(error) }));
process.on("unhandledRejection", (error) => say({ uncaught: current, error: troubled(error) }));

const within = (seconds, promise) => {
  let timer;
  const late = new Promise((_, reject) => (timer = setTimeout(reject, seconds * 1000, new Error("the case took too long"))));
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
};

const run = async (cases) => {
  for (const [name, work] of Object.entries(cases)) {
    current = name;
    try {
      say({ case: name, ok: true, value: told(await within(order.seconds, Promise.resolve().then(work))) });
    } catch (error) {
      say({ case: name, ok: false, error: troubled(error) });
    }
  }
};

// ------------------------------------------------------------------------------------------------------------- clients

// The hosts are one object for the whole process: of an open application they are set by the method, else by the option.
const first = filestack.init(key);
if (!security) first.setCname(domain);
const client = filestack.init(key, { cname: domain, ...(security ? { security } : {}) });
const plain = () => filestack.init(key, { cname: domain });
const holder = (held) => filestack.init(key, { cname: domain, security: held });

const signed = (link, held = security) => (held ? link.security(held) : link);
const link = (source = files.photo) => signed(new filestack.Filelink(source, key).setCname(domain));
const opened = async (made) => {
  const { data, headers, status } = await filestack.FsRequest.get(made.toString());
  return { status, type: headers["content-type"], ...(Buffer.isBuffer(data) ? told(data) : { data }) };
};

/** Every method that adds a task: what it is given, and to which source. Those that need a policy always have one. */
const chains = {
  autoImage: () => link().autoImage(),
  flip: () => link().flip(),
  flop: () => link().flop(),
  imagesize: () => link().imagesize(),
  noMetadata: () => link().noMetadata(),
  pjpg: () => link().pjpg({ quality: 80 }),
  "pjpg with metadata": () => link().pjpg({ metadata: true }),
  smartCrop: () => link().smartCrop({ mode: "auto", width: 50, height: 50 }),
  watermark: () => link().watermark({ file: files.mark, size: 20, position: ["top", "right"] }),
  "watermark by URL": () => link().watermark({ file: order.outside }),
  enhance: () => link().enhance({ preset: "vivid" }),
  "enhance by itself": () => link().enhance(),
  redeye: () => link().redeye(),
  monochrome: () => link().monochrome(),
  compress: () => link().compress(),
  negative: () => link().negative(),
  animate: () => link([files.photo, files.mark]).animate({ delay: 200, width: 50, height: 50, background: "white" }),
  store: () => link().resize({ width: 20 }).store({ filename: "small.jpg", path: "some/folder/" }),
  cache: () => link().resize({ width: 100 }).cache({ expiry: 60 }),
  "cache off": () => link().resize({ width: 100 }).cache(false),
  resize: () => link().resize({ width: 100, height: 50, fit: "crop", align: ["top", "left"] }),
  crop: () => link().crop({ dim: [10, 20, 60, 40] }),
  rotate: () => link().rotate({ deg: 90 }),
  "rotate by EXIF": () => link().rotate({ deg: "exif" }),
  detectFaces: () => link(files.face).detectFaces({ minsize: 0.2, color: "red" }),
  "detectFaces as JSON": () => link(files.face).detectFaces({ export: true }),
  cropFaces: () => link(files.face).cropFaces({ mode: "fill", width: 60, height: 60, faces: 1 }),
  pixelateFaces: () => link(files.face).pixelateFaces({ faces: "all", amount: 5, type: "oval" }),
  blurFaces: () => link(files.face).blurFaces({ faces: [1], amount: 5 }),
  roundedCorners: () => link().roundedCorners({ radius: 10, blur: 1.5, background: "FFFFFF" }),
  "roundedCorners at most": () => link().roundedCorners({ radius: "max" }),
  polaroid: () => link().polaroid({ rotate: 10, color: "red", background: "CCCCCC" }),
  vignette: () => link().vignette({ amount: 30, blurmode: "linear" }),
  tornEdges: () => link().tornEdges({ spread: [5, 10], background: "white" }),
  shadow: () => link().shadow({ blur: 5, opacity: 30, vector: [5, 5], color: "black" }),
  circle: () => link().circle({ background: "red" }),
  border: () => link().border({ width: 5, color: "red" }),
  sharpen: () => link().sharpen({ amount: 3 }),
  blur: () => link().blur({ amount: 3 }),
  blackwhite: () => link().blackwhite({ threshold: 40 }),
  sepia: () => link().sepia({ tone: 50 }),
  pixelate: () => link().pixelate({ amount: 4 }),
  oilPaint: () => link().oilPaint({ amount: 2 }),
  modulate: () => link().modulate({ brightness: 120, hue: 20, saturation: 90 }),
  partialPixelate: () => link().partialPixelate({ amount: 5, blur: 2, type: "oval", objects: [[0, 0, 20, 20]] }),
  partialBlur: () => link().partialBlur({ amount: 5, objects: [[0, 0, 20, 20], [30, 30, 10, 10]] }),
  collage: () => link().collage({ files: [files.mark, files.photo], width: 200, height: 100, margin: 2, color: "blue" }),
  upscale: () => link().resize({ width: 40 }).upscale({ upscale: true, noise: "low", style: "photo" }),
  ascii: () => link().ascii({ background: "white", colored: true, size: 20 }),
  quality: () => link().quality({ value: 30 }),
  security: () => (security ? link() : signed(link(), always)),
  output: () => link().output({ format: "png", background: "white", strip: true, quality: 80 }),
  "output of a PDF": () => link(files.pdf).output({ format: "jpg", page: 1, density: 72 }),
  URLScreenshot: () => link(order.page).URLScreenshot({ agent: "desktop", mode: "window", width: 320, height: 240, delay: 0 }),
  PDFInfo: () => link(files.pdf).PDFInfo({ colorinfo: true }),
  PDFConvert: () => link(files.pdf).PDFConvert({ pageorientation: "landscape", pages: [1] }),
  fallback: () => link("A".repeat(20)).fallback({ handle: files.mark, cache: 10 }).resize({ width: 25 }),
  zip: () => link([files.photo, files.mark]).zip(),
  minifyCss: () => link(files.css).minifyCss({ level: 1, gzip: false }),
  minifyJs: () => link(files.js).minifyJs({ mangle: false, gzip: false }),
  tags: () => signed(new filestack.Filelink(files.photo, key).setCname(domain), always).tags(),
  sfw: () => signed(new filestack.Filelink(files.photo, key).setCname(domain), always).sfw(),
  addTask: () => link().addTask("resize", { width: 100 }),
  "addTask, a workflow": () => link().setUseValidator(false).addTask("run_workflow", { id: order.workflow }),
  setBase64: () => link().resize({ width: 100 }).setBase64(true),
  "setBase64, from outside": () => link(order.outside).resize({ width: 9 }).setBase64(true),
  "setBase64, a list": () => link([files.photo, files.mark]).zip().setBase64(true),
  setCname: () => link().resize({ width: 100 }).setCname(domain),
  setCustomDomain: () => link().resize({ width: 100 }).setCustomDomain(`https://process.${domain}`),
  setUseValidator: () => link().setUseValidator(false).resize({ width: 100, filter: "box" }),
  "a source from outside": () => link(order.outside).resize({ width: 9 }),
  "a list with a source from outside": () => link([files.photo, order.outside]).zip(),
  "a source from an alias": () => link(order.alias).resize({ width: 9 }),
  "four tasks": () => link().resize({ width: 300 }).rotate({ deg: 90 }).flip().flop(),
  setSource: () => {
    const made = link(files.mark);
    made.setSource(files.photo);
    return made.resize({ width: 100 });
  },
  reset: () => signed(link().flip().reset()).resize({ width: 100 }),
};

const links = Object.fromEntries(Object.entries(chains).map(([name, make]) => [`Filelink ${name}`, () => opened(make())]));
links["Filelink videoConvert"] = async () => {
  const made = link(files.video).videoConvert({ preset: "h264", width: 320 });
  const first = await opened(made);
  let last = first;
  while (["pending", "started"].includes(last.data.status)) {
    await new Promise((go) => setTimeout(go, 100));
    last = await opened(made);
  }
  const url = last.data.data.url;
  return { first: first.data, last: last.data, result: url ? await opened(link(url.split("/").pop())) : null };
};
links["Filelink bookkeeping"] = () => {
  const made = new filestack.Filelink(files.photo, key).resize({ width: 10 }).setCname(domain);
  const schema = Object.keys(made.getValidationSchema().properties).length;
  return { tasks: made.getTasks(), valid: made.getTransformations(), schema, url: made.toString() };
};

// -------------------------------------------------------------------------------------------------------------- uploads

const options = { retry: 2, retryFactor: 1, retryMaxTime: 1000 };
const big = () => fs.readFileSync(work("big.bin"));
const photo = () => fs.readFileSync(work("photo.jpg"));
const up = (input, more = {}, store = {}, token, held) => client.upload(input, { ...options, ...more }, store, token, held);

/** Lets one of the next requests of a method fail on its way to the server. */
const failing = (method, which) => filestack.FsRequest.get(`https://control.${domain}/fail/${method}/${which}`);

/** Takes hold of a large upload at its first progress: pauses it for a moment, or gives it up. */
const held = async (name) => {
  const token = {};
  let stopped = 0;
  const events = [];
  const onProgress = (progress) => {
    events.push(progress.totalBytes);
    if (progress.totalBytes === 0 || stopped) return;
    stopped = progress.totalBytes;
    if (name === "cancel") return token.cancel();
    token.pause();
    setTimeout(() => token.resume(), 50);
  };
  const value = await up(big(), { onProgress, progressInterval: 1, concurrency: 1 }, { filename: `${name}.bin` }, token);
  return { ...told(value), stopped, last: Math.max(...events) };
};

const uploads = {
  "upload a path": () => up(work("photo.jpg")),
  "upload a buffer": () => up(photo(), {}, { filename: "given.jpg" }),
  "upload a buffer without a name": () => up(photo()),
  "upload a named buffer": () => up({ file: photo(), name: "na[me]d.jpg" }),
  "upload Base64": () => up(photo().toString("base64"), {}, { filename: "base.jpg" }),
  "upload a data URL": () => up(`data:image/jpeg;base64,${photo().toString("base64")}`, {}, { filename: "data.jpg" }),
  "upload with a name made by a function": () => up(photo(), {}, { filename: (file) => `made-of-${file.size}.jpg` }),
  "upload a large file": () => up(work("big.bin"), { partSize: 5 * 1024 * 1024 }),
  "upload without integrity check": () => up(photo(), { disableIntegrityCheck: true }, { filename: "unchecked.jpg" }),
  "upload intelligently": () => up(work("big.bin"), { intelligent: true, intelligentChunkSize: 3 * 1024 * 1024 }),
  "upload intelligently as a fallback": () => up(work("big.bin"), { intelligent: "fallback" }),
  "upload intelligently after a failed part": async () => {
    await failing("PUT", 2);
    return up(work("big.bin"), { intelligent: "fallback", concurrency: 1 }, { filename: "fails.bin" });
  },
  "upload intelligently after a failed chunk": async () => {
    await failing("PUT", 1);
    return up(big(), { intelligent: true }, { filename: "chunk.bin" });
  },
  "upload with tags": () => up(photo(), { tags: { colour: "grey", place: "none" } }, { filename: "tagged.jpg" }),
  "upload with an alternative text": () => up(photo(), {}, { filename: "alt.jpg", altText: "a gradient" }),
  "upload to a path": () => up(photo(), {}, { filename: "a.jpg", path: "some/folder/", access: "private", location: "s3" }),
  "upload without a storage key": () => up(photo(), {}, { filename: "b.jpg", path: "some/folder", disableStorageKey: true }),
  "upload with a type": () => up(photo(), {}, { filename: "c.jpg", mimetype: "image/jpeg" }),
  "upload with a workflow": () => up(photo(), {}, { filename: "w.jpg", workflows: [order.workflow] }),
  "upload with a policy of its own": () => plain().upload(photo(), options, { filename: "own.jpg" }, {}, always),
  "upload an empty file": () => up(work("empty.bin")),
  "upload, paused and resumed": () => held("resume"),
  "upload, with progress": async () => {
    const seen = [];
    const onProgress = ({ totalBytes, totalPercent }) => seen.push([totalBytes, totalPercent]);
    const events = [];
    client.on("upload.start", () => events.push("start"));
    const value = await up(big(), { onProgress, progressInterval: 5 }, { filename: "progress.bin" });
    client.removeAllListeners("upload.start");
    return { ...told(value), seen, events };
  },
  "upload, retried after a failure of the server": async () => {
    let retries = 0;
    await failing("PUT", 1);
    const value = await up(photo(), { onRetry: () => (retries += 1) }, { filename: "again.jpg" });
    return { ...told(value), retries };
  },
  multiupload: async () => {
    const inputs = [work("photo.jpg"), { file: photo(), name: "second.jpg" }, work("big.bin")];
    const value = await client.multiupload(inputs, { ...options, tags: { many: "yes" } }, { path: "many/" }, {});
    return { files: value.map(told) };
  },
  "upload, cancelled": () => held("cancel"),
};

// ------------------------------------------------------------------------------------------------------------ File API

const others = {
  storeURL: () => client.storeURL(order.outside, { filename: "stored.jpg", path: "from/outside/", location: "s3" }),
  "storeURL with tags and headers": () =>
    client.storeURL(order.guarded, { filename: "guarded.jpg" }, {}, security || undefined, { by: "tag" }, { "X-Wanted": "yes" }),
  "storeURL of a transformation": () => client.storeURL(client.transform(files.photo, { resize: { width: 40 } })),
  "storeURL with a workflow": () =>
    client.storeURL(order.outside, {}, undefined, undefined, undefined, undefined, [order.workflow]),
  "storeURL of what is not there": () => client.storeURL(order.missing),
  metadata: () => client.metadata(files.photo, Object.fromEntries(order.names.map((name) => [name, true]))),
  "metadata as usual": () => client.metadata(files.photo),
  "metadata of EXIF": () => client.metadata(files.photo, { exif: true }, order.exif),
  retrieve: () => client.retrieve(files.photo),
  "retrieve with an extension": () => client.retrieve(files.photo, { extension: "jpg" }),
  "retrieve metadata": () => client.retrieve(files.photo, { metadata: true }),
  "retrieve head": () => client.retrieve(files.photo, { head: true }),
  "retrieve head for a download": () => client.retrieve(files.photo, { head: true, dl: true }),
  "retrieve without cache": () => client.retrieve(files.photo, { cache: false }),
  download: async () => told((await client.download(files.photo, security || undefined)).data),
  remove: async () => ({ status: (await client.remove(order.victims[0], always)).status }),
  "remove again": () => client.remove(order.victims[0], always),
  removeMetadata: async () => ({ status: (await client.removeMetadata(order.victims[1], always)).status }),
  transform: () => opened(client.transform(files.photo, { resize: { width: 100 }, flip: true, partialBlur: { objects: [[0, 0, 9, 9]] } })),
  "transform in Base64": () => opened(client.transform(files.photo, { resize: { width: 100 }, flip: true }, true)),
  "transform from outside": () => opened(client.transform(order.outside, { resize: { width: 9 } })),
  "transform a list": () => opened(client.transform([files.photo, files.mark], { zip: true })),
  getSecurity: async () => {
    const made = filestack.getSecurity({ expiry: order.expiry, call: ["read", "stat"], handle: files.photo }, order.secret);
    return { made, seen: await holder(made).metadata(files.photo, { size: true }) };
  },
  "getSecurity with + and / in it": async () => {
    const made = filestack.getSecurity({ expiry: order.expiry, call: ["read", "stat"], url: order.odd }, order.secret);
    return { made, seen: await holder(made).metadata(files.photo, { size: true }) };
  },
  validateWebhookSignature: () => ({
    good: filestack.validateWebhookSignature(order.hook.secret, order.hook.body, order.hook),
    bad: filestack.validateWebhookSignature(order.hook.secret, `${order.hook.body} `, order.hook),
  }),
  setSecurity: async () => {
    const later = plain();
    later.setSecurity(always);
    return later.metadata(files.photo, { size: true });
  },
  "setSecurity with half of it": () => plain().setSecurity({ policy: "only" }),
  setCname: async () => {
    if (security) first.setSecurity(security);
    first.setCname(domain);
    const seen = await first.metadata(files.photo, { size: true });
    return { urls: first.session.urls, seen, cloud: first.cloud.cloudApiUrl };
  },
  utils: () => ({ type: client.utils.extensionToMime("a.png"), version: client.utils.getVersion() }),
  prefetch: () =>
    client.prefetch({
      pickerOptions: { maxFiles: 3, fromSources: ["local_file_system"], onUploadDone: () => {} },
      settings: ["inapp_browser"],
      permissions: ["transforms_ui", "intelligent_ingestion", "whitelabel"],
      events: ["picker"],
    }),
  "prefetch with nothing": () => client.prefetch({}),
  logout: () => client.logout(),
  "logout from one cloud": () => client.logout("googledrive"),
  "cloud.list": () => client.cloud.list({ [order.cloud]: { path: "/" } }, {}, ["image/*"]),
  "cloud.list of an unknown cloud": () => client.cloud.list({ googledrive: { path: "/" } }),
  "cloud.list of a folder": () => client.cloud.list({ [order.cloud]: { path: order.folder } }),
  "cloud.store": () => client.cloud.store(order.cloud, order.listed, { filename: "picked.jpg" }, {}, {}, { by: "picker" }, "session"),
  "cloud.metadata": () => client.cloud.metadata(order.outside, { "X-Wanted": "yes" }),
  "cloud.tokInit": () => client.cloud.tokInit("video"),
  "cloud.tokStart": () => client.cloud.tokStart("audio", key, "session"),
  "cloud.tokStop": () => client.cloud.tokStop("audio", key, "session", "archive"),
  picker: () => client.picker({ maxFiles: 1 }).open(),
  "cloud.token": () => {
    client.cloud.token = "a token";
    return { token: client.cloud.token, inapp: client.cloud.isInAppBrowser };
  },
};

// ------------------------------------------------------------------------------------------------------------- refusals

/** The same calls with a credential that does not carry them; what the SDK makes of the refusal. */
const refusals = (who, name) => ({
  [`${name}: metadata`]: () => who().metadata(files.photo),
  [`${name}: retrieve`]: () => who().retrieve(files.photo),
  [`${name}: retrieve head`]: () => who().retrieve(files.photo, { head: true }),
  [`${name}: download`]: () => who().download(files.photo),
  [`${name}: transform`]: () => opened(who().transform(files.photo, { resize: { width: 100 } })),
  [`${name}: storeURL`]: () => who().storeURL(order.outside),
  [`${name}: remove`]: () => who().remove(order.victims[2]),
  [`${name}: removeMetadata`]: () => who().removeMetadata(order.victims[2]),
  [`${name}: prefetch`]: () => who().prefetch({}),
  [`${name}: cloud.list`]: () => who().cloud.list({ [order.cloud]: { path: order.folder } }),
  [`${name}: cloud.store`]: () => who().cloud.store(order.cloud, order.listed),
  [`${name}: cloud.metadata`]: () => who().cloud.metadata(order.outside),
  [`${name}: upload`]: async () => {
    const refused = who();
    const events = [];
    refused.on("upload.error", (error) => events.push(troubled(error)));
    const value = await refused.upload(work("photo.jpg"), options).catch((error) => ({ rejected: told(error) }));
    return { ...value, events };
  },
});

(async () => {
  await run({ ...links, ...others, ...uploads });
  for (const [name, policy] of Object.entries(order.refused)) {
    await run(refusals(() => (policy ? holder(policy) : plain()), name));
  }
  const methods = (thing) => Object.getOwnPropertyNames(thing).filter((name) => name !== "constructor");
  const cloud = Object.getPrototypeOf(client.cloud);
  const has = { Client: methods(filestack.Client.prototype), Filelink: methods(filestack.Filelink.prototype), CloudClient: methods(cloud) };
  session.post("Profiler.takePreciseCoverage", (_, { result }) => {
    const ours = result.filter(({ url }) => /filestack-js.build.main/.test(url)).flatMap(({ functions }) => functions);
    const ran = ours.filter(({ ranges }) => ranges[0].count > 0).map(({ functionName }) => functionName);
    say({ ran: [...new Set(ran)].sort(), has, exports: Object.keys(filestack), hosts: [...global.sdkHosts] });
    process.exit(0);
  });
})();
