// A caller over HTTP/2 that uploads and reads what is answered meanwhile. curl 7.88 cannot: it drops an answer whose
// stream is reset behind it, also nginx's. Arguments: port, path, method, bytes to upload, number of tries.
// Prints one line for each try: the status, or what went wrong.
import http2 from 'node:http2';

const [port, path, method, bytes, tries] = process.argv.slice(2);
const piece = Buffer.alloc(64 * 1024, 'x');

function attempt() {
  return new Promise((resolve) => {
    const session = http2.connect(`http://127.0.0.1:${port}`);
    const end = (word) => { session.destroy(); resolve(word); };
    session.on('error', (error) => end(`session: ${error.message}`));
    const stream = session.request({
      ':method': method, ':path': path, 'content-length': bytes, 'content-type': 'application/x-www-form-urlencoded',
      authorization: 'Basic c2tfdGVzdF9zdG9yeTo=',
    });
    let [left, status, text] = [Number(bytes), 0, ''];
    const send = () => {
      while (left > 0 && !stream.destroyed && stream.writable) {
        const next = piece.subarray(0, Math.min(left, piece.length));
        left -= next.length;
        if (!stream.write(next)) return stream.once('drain', send);
      }
      if (!stream.destroyed) stream.end();
    };
    stream.setTimeout(10000, () => end('silent for ten seconds'));
    stream.on('response', (head) => { status = head[':status']; });
    stream.on('data', (data) => { text += data; });
    stream.on('end', () => end(status && text ? String(status) : `status ${status} and ${text.length} bytes`));
    stream.on('error', (error) => end(`stream: ${error.message}`));
    stream.on('close', () => end(`closed after status ${status}`));
    send();
  });
}

for (let n = 0; n < Number(tries); n += 1) console.log(await attempt());
