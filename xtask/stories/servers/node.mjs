// Node's standard server. Arguments: the port, and the file to serve.
import { createHash } from 'node:crypto';
import { createReadStream, statSync } from 'node:fs';
import http from 'node:http';
import { gzipSync } from 'node:zlib';

const [port, large] = [Number(process.argv[2]), process.argv[3]];
const lines = Array.from({ length: 1000 }, (_, n) => `line ${String(n).padStart(5, '0')} of the body\n`);
const body = Buffer.from(lines.join('')).subarray(0, 20000);
const packed = gzipSync(body);
const long = Array.from({ length: 60 }, (_, n) => [`x-long-${n}`, String.fromCharCode(97 + (n % 26)).repeat(500)]);
let connections = 0;

function plain(response, bytes, fields = {}) {
  response.writeHead(200, { 'content-type': 'text/plain', 'content-length': bytes.length, ...fields });
  response.end(bytes);
}

function summed(request, response) {
  const digest = createHash('sha256');
  let total = 0;
  request.on('data', (piece) => { total += piece.length; digest.update(piece); });
  request.on('end', () => plain(response, Buffer.from(`${total} ${digest.digest('hex')}\n`)));
}

const server = http.createServer({ maxHeaderSize: 64 * 1024 }, (request, response) => {
  switch (request.url) {
    case '/length': return plain(response, body);
    case '/chunked':
      response.writeHead(200, { 'content-type': 'text/plain' });
      for (let at = 0; at < body.length; at += 2000) response.write(body.subarray(at, at + 2000));
      return response.end();
    case '/gzip': return plain(response, packed, { 'content-encoding': 'gzip', vary: 'accept-encoding' });
    case '/none': return response.writeHead(204).end();
    case '/tagged':
      if (request.headers['if-none-match'] === '"one"') return response.writeHead(304, { etag: '"one"' }).end();
      return plain(response, body, { etag: '"one"' });
    case '/long': return plain(response, body, Object.fromEntries(long));
    case '/heads':
      return plain(response, Buffer.from(long.map(([name]) => request.headers[name] ?? '').join('\n')));
    case '/sum': return summed(request, response);
    case '/refuse':
      response.writeHead(413, { 'content-length': 9 }).end('too much\n');
      return request.resume();
    case '/large':
      response.writeHead(200, { 'content-length': statSync(large).size });
      return createReadStream(large).pipe(response);
    case '/connections': return plain(response, Buffer.from(`${connections}\n`));
    default: return response.writeHead(404).end();
  }
});
server.on('connection', () => { connections += 1; });
server.listen(port, '127.0.0.1');
