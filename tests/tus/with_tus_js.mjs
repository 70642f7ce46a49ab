// Uploads a file with tus-js-client, and goes on with what an earlier process began.
// Arguments: the URL of /uploads, the file, its name there, a file for what is to be remembered.

import { createReadStream } from "node:fs";
import * as tus from "tus-js-client";

const [endpoint, path, name, memory] = process.argv.slice(2);

const upload = new tus.Upload(createReadStream(path), {
  endpoint,
  metadata: { name },
  urlStorage: new tus.FileUrlStorage(memory),
  onError: (error) => {
    throw error;
  },
});

const [previous] = await upload.findPreviousUploads();
if (previous) upload.resumeFromPreviousUpload(previous);
upload.start();
