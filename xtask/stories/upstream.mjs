// An upstream on Node's standard server: chunked answers, trailers, a connection closed after each answer.
// Argument: the port.
import http from 'node:http';

const seen = new Map();

http.createServer((request, response) => {
  const { pathname } = new URL(request.url, 'http://up');
  const pieces = [];
  request.on('data', (piece) => pieces.push(piece));
  request.on('end', () => {
    const body = Buffer.concat(pieces);
    seen.set(pathname, (seen.get(pathname) ?? 0) + 1);
    if (pathname === '/echo') {
      // No length, so the answer is chunked.
      response.writeHead(200, { 'x-framing': request.headers['transfer-encoding'] ?? 'length' });
      for (let at = 0; at < body.length; at += 1000) response.write(body.subarray(at, at + 1000));
      response.end();
    } else if (pathname === '/trailers') {
      response.writeHead(200, { trailer: 'x-sum' });
      response.write('body');
      response.addTrailers({ 'x-sum': '42' });
      response.end();
    } else if (pathname === '/close') {
      response.writeHead(200, { connection: 'close' });
      response.end('closed');
    } else if (pathname === '/swallow') {
      // Read whole, then closed unanswered: nobody can know whether it took effect.
      request.socket.destroy();
    } else {
      response.end(JSON.stringify(Object.fromEntries(seen)));
    }
  });
}).listen(Number(process.argv[2]), '127.0.0.1');
