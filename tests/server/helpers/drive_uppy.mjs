/** Drives Uppy with its tus plugin in a browser: tests call `window.uppy(files, order)`. */
import Uppy from "@uppy/core";
import Tus from "@uppy/tus";

window.uppy = async (files, { endpoint, options, cancel }) => {
  const uppy = new Uppy({ autoProceed: false }).use(Tus, { endpoint, retryDelays: [0, 10, 50, 200, 1000], ...options });
  const handles = {};
  const addresses = [];
  uppy.on("upload-success", (file, answer) => {
    handles[file.name] = answer.body.xhr.getResponseHeader("Filestack-Handle");
    addresses.push(answer.uploadURL);
  });
  for (const file of files) uppy.addFile({ name: file.name, type: file.type, data: file });
  const moved = new Promise((resolve) => { uppy.on("upload-progress", (file, { bytesUploaded }) => bytesUploaded > 0 && resolve()); });
  Object.assign(window, { pause: () => uppy.pauseAll(), goOn: () => uppy.resumeAll() });
  const result = uppy.upload();
  if (cancel) {
    await moved;
    uppy.cancelAll();
    return { handles, left: uppy.getFiles().length };
  }
  const { successful, failed } = await result;
  return { handles, addresses, successful: successful.length, failed: failed.map(({ error }) => error) };
};
