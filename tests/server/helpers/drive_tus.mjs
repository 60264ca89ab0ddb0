/**
 * Drives tus-js-client: one scenario with one source, told as what the client saw. It is bundled for browsers, where tests
 * call `window.drive`, and for node, where it reads one order from standard input.
 */
import * as tus from "tus-js-client";

/** Begins an upload and gives what came of it; `also` are more callbacks, and get the upload. */
function run(source, { endpoint, metadata, options }, log, also = {}) {
  let upload;
  const ended = new Promise((resolve, reject) => {
    upload = new tus.Upload(source, {
      endpoint,
      metadata,
      retryDelays: [0, 10, 50, 200],
      ...options,
      onAfterResponse: (request, response) => {
        log.push([request.getMethod(), response.getStatus(), request.getHeader("Upload-Offset") ?? null]);
      },
      onSuccess: ({ lastResponse }) => resolve({
        handle: lastResponse.getHeader("Filestack-Handle"),
        link: lastResponse.getHeader("Filestack-Url"),
        address: upload.url,
      }),
      onError: (error) => reject(error),
      ...Object.fromEntries(Object.entries(also).map(([name, call]) => [name, (...args) => call(upload, ...args)])),
    });
  });
  ended.catch(() => {}); // some scenarios never come to an end
  return { upload, ended };
}

/**
 * The same, until its first chunk has arrived: then it is stopped, and on the server too if `terminate`. With `between`, it
 * stops before the next request has begun; else that one is aborted on its way.
 */
async function stopped(source, order, log, { terminate = false, between = false } = {}) {
  let stopping;
  const begun = run(source, order, log, {
    onChunkComplete: (upload) => { stopping ??= between ? upload.abort() : Promise.resolve().then(() => upload.abort(terminate)); },
  });
  begun.upload.start();
  while (!stopping) await new Promise((resolve) => { setTimeout(resolve, 1); });
  await stopping;
  return begun;
}

const SCENARIOS = {
  async plain(source, order, log) {
    const { upload, ended } = run(source, order, log);
    upload.start();
    return ended;
  },

  async paused(source, order, log) {
    const { upload, ended } = await stopped(source, order, log, { between: true });
    log.push("stopped");
    upload.start();
    return ended;
  },

  async previous(source, order, log) {
    await stopped(source, order, log);
    log.push("stopped");
    const { upload, ended } = run(source, order, log);
    const found = await upload.findPreviousUploads();
    upload.resumeFromPreviousUpload(found[0]);
    upload.start();
    return { ...(await ended), found: found.length };
  },

  async terminated(source, order, log) {
    const { upload } = await stopped(source, order, log, { terminate: true });
    return { address: upload.url };
  },

  async summed(source, order, log) {
    const onBeforeRequest = (upload, request) => {
      if (request.getMethod() === "PATCH") request.setHeader("Upload-Checksum", order.checksum);
    };
    const { upload, ended } = run(source, order, log, { onBeforeRequest });
    upload.start();
    return ended;
  },
};

async function drive(source, order) {
  const log = [];
  try {
    return { log, ...(await SCENARIOS[order.scenario](source, order, log)) };
  } catch (error) {
    const answer = error.originalResponse;
    return { log, failed: answer ? answer.getStatus() : String(error), said: answer?.getBody() ?? "" };
  }
}

async function main() {
  const { createReadStream } = await import("node:fs");
  const { PassThrough } = await import("node:stream");
  let text = "";
  for await (const piece of process.stdin) text += piece;
  const order = JSON.parse(text);
  if (order.storage) order.options.urlStorage = new tus.FileUrlStorage(order.storage);
  const file = createReadStream(order.file); // of which the client asks the length, unless it comes through a pipe
  const source = order.options.uploadLengthDeferred ? file.pipe(new PassThrough()) : file;
  console.log(JSON.stringify(await drive(source, order)));
}

if (typeof window === "undefined") await main();
else window.drive = drive;
