// Java's com.sun.net.httpserver. Run from the source: java Server.java PORT FILE.
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Executors;
import java.util.zip.GZIPOutputStream;

public class Server {
    private static final int PIECE = 256 * 1024;
    private static final String TAG = "\"one\"";
    private static final Set<Object> CALLERS = ConcurrentHashMap.newKeySet();
    private static byte[] body;
    private static byte[] packed;
    private static File large;

    public static void main(String[] args) throws Exception {
        StringBuilder lines = new StringBuilder();
        for (int n = 0; n < 1000; n++) lines.append(String.format("line %05d of the body\n", n));
        body = Arrays.copyOf(bytes(lines.toString()), 20000);
        ByteArrayOutputStream into = new ByteArrayOutputStream();
        try (GZIPOutputStream gzip = new GZIPOutputStream(into)) {
            gzip.write(body);
        }
        packed = into.toByteArray();
        large = new File(args[1]);
        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", Integer.parseInt(args[0])), 64);
        server.setExecutor(Executors.newCachedThreadPool());
        server.createContext("/", Server::answer);
        server.start();
    }

    private static void answer(HttpExchange call) throws IOException {
        CALLERS.add(call.getRemoteAddress());
        try (call) {
            switch (call.getRequestURI().getPath()) {
                case "/length" -> plain(call, body);
                case "/chunked" -> {
                    call.sendResponseHeaders(200, 0);
                    OutputStream out = call.getResponseBody();
                    for (int at = 0; at < body.length; at += 2000) {
                        out.write(body, at, 2000);
                        out.flush();
                    }
                }
                case "/gzip" -> {
                    call.getResponseHeaders().set("content-encoding", "gzip");
                    call.getResponseHeaders().set("vary", "accept-encoding");
                    plain(call, packed);
                }
                case "/none" -> call.sendResponseHeaders(204, -1);
                case "/tagged" -> {
                    call.getResponseHeaders().set("etag", TAG);
                    if (TAG.equals(call.getRequestHeaders().getFirst("if-none-match"))) {
                        call.sendResponseHeaders(304, -1);
                    } else {
                        plain(call, body);
                    }
                }
                case "/long" -> {
                    for (int n = 0; n < 60; n++) {
                        String value = String.valueOf((char) (97 + n % 26)).repeat(500);
                        call.getResponseHeaders().set("x-long-" + n, value);
                    }
                    plain(call, body);
                }
                case "/heads" -> {
                    String[] seen = new String[60];
                    for (int n = 0; n < 60; n++) {
                        String value = call.getRequestHeaders().getFirst("x-long-" + n);
                        seen[n] = value == null ? "" : value;
                    }
                    plain(call, bytes(String.join("\n", seen)));
                }
                case "/sum" -> plain(call, summed(call.getRequestBody()));
                case "/refuse" -> {
                    byte[] text = bytes("too much\n");
                    call.sendResponseHeaders(413, text.length);
                    call.getResponseBody().write(text);
                    call.getResponseBody().flush();
                    call.getRequestBody().transferTo(OutputStream.nullOutputStream());
                }
                case "/large" -> {
                    call.sendResponseHeaders(200, large.length());
                    try (InputStream in = new FileInputStream(large)) {
                        in.transferTo(call.getResponseBody());
                    }
                }
                case "/connections" -> plain(call, bytes(CALLERS.size() + "\n"));
                default -> call.sendResponseHeaders(404, -1);
            }
        }
    }

    private static void plain(HttpExchange call, byte[] bytes) throws IOException {
        call.getResponseHeaders().set("content-type", "text/plain");
        if (call.getRequestMethod().equals("HEAD")) {
            call.getResponseHeaders().set("content-length", String.valueOf(bytes.length));
            call.sendResponseHeaders(200, -1);
        } else {
            call.sendResponseHeaders(200, bytes.length);
            call.getResponseBody().write(bytes);
        }
    }

    private static byte[] summed(InputStream in) throws IOException {
        try {
            MessageDigest digest = MessageDigest.getInstance("SHA-256");
            byte[] piece = new byte[PIECE];
            long total = 0;
            for (int got = in.read(piece); got >= 0; got = in.read(piece)) {
                digest.update(piece, 0, got);
                total += got;
            }
            return bytes(total + " " + HexFormat.of().formatHex(digest.digest()) + "\n");
        } catch (java.security.NoSuchAlgorithmException e) {
            throw new IOException(e);
        }
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.US_ASCII);
    }
}
