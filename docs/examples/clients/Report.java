import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.concurrent.ThreadLocalRandom;

/**
 * Reports usage from the product: each batch counts once, whatever happens on the way. Java 17; nothing to install.
 *
 * <pre>
 * new Report("http://127.0.0.1:8485", Duration.ofMinutes(10))
 *     .send("[{\"dimension\": \"requests\", \"quantity\": 3, \"id\": \"order-17\"}]");
 *
 * java Report.java [URL [SECONDS]] &lt; batches    # a line is a batch: a JSON array of events; exit 0, 65 or 69
 * </pre>
 */
public final class Report {
    private static final long BACKOFF_MILLIS = 100;
    private static final long BACKOFF_MILLIS_MAX = 10_000;
    private static final Duration ATTEMPT = Duration.ofSeconds(10);

    /** The sidecar takes none of these events, now or later. The message is its problem document. */
    public static final class Refused extends Exception {
        private static final long serialVersionUID = 1;

        Refused(String problem) {
            super(problem);
        }
    }

    /** Time is up, and whether the events count is unknown. Keep them, and send them again with the same ids. */
    public static final class NotKnown extends Exception {
        private static final long serialVersionUID = 1;

        NotKnown(String last) {
            super(last);
        }
    }

    private final URI uri;
    private final Duration limit;
    private final HttpClient client =
            HttpClient.newBuilder()
                    .version(HttpClient.Version.HTTP_1_1)
                    .proxy(HttpClient.Builder.NO_PROXY)
                    .connectTimeout(ATTEMPT)
                    .build();

    public Report(String url, Duration limit) {
        this.uri = URI.create(url + "/v1/usage");
        this.limit = limit;
    }

    /** Posts one batch, in which every event has its own id, until it is kept. Returns the sidecar's answer. */
    public String send(String batch) throws Refused, NotKnown, InterruptedException {
        if (!identified(batch)) {
            throw new Refused("a batch is an array of events, each with an id; without one it could count twice");
        }
        Instant ends = Instant.now().plus(limit);
        for (long backoff = BACKOFF_MILLIS; ; backoff = Math.min(2 * backoff, BACKOFF_MILLIS_MAX)) {
            String last;
            long after = 0;
            try {
                HttpResponse<String> answer = client.send(request(batch), HttpResponse.BodyHandlers.ofString());
                int status = answer.statusCode();
                if (status < 300) {
                    return answer.body();
                }
                if (status != 429 && status < 500) {
                    throw new Refused(answer.body());
                }
                last = answer.body();
                String seconds = answer.headers().firstValue("Retry-After").orElse("0");
                after = seconds.matches("[0-9]{1,6}") ? Long.parseLong(seconds) * 1000 : 0;
            } catch (IOException lost) {
                last = lost.toString(); // perhaps kept: the ids make sure that it counts once
            }
            long pause = after + ThreadLocalRandom.current().nextLong(backoff + 1);
            if (Instant.now().plusMillis(pause).isAfter(ends)) {
                throw new NotKnown(last);
            }
            Thread.sleep(pause);
        }
    }

    /** Says whether the batch is an array in which each object has an id. A key of such an object is at depth 2. */
    private static boolean identified(String batch) {
        boolean quoted = false;
        boolean hasId = false;
        int depth = 0;
        int start = 0;
        String word = "";
        for (int i = 0; i < batch.length(); i++) {
            char c = batch.charAt(i);
            if (quoted && c == '\\') {
                i++;
            } else if (c == '"') {
                word = quoted ? batch.substring(start, i) : word;
                start = i + 1;
                quoted = !quoted;
            } else if (quoted) {
                continue;
            } else if (c == ':' && depth == 2 && word.equals("id")) {
                hasId = !batch.substring(i + 1, Math.min(i + 81, batch.length())).stripLeading().startsWith("null");
            } else if (c == '[' || c == '{') {
                depth++;
                if (depth == 1 && c == '{') {
                    return false;
                }
                hasId = hasId && depth != 2;
            } else if ((c == ']' || c == '}') && depth-- == 2 && !hasId) {
                return false;
            }
        }
        return true;
    }

    private HttpRequest request(String batch) throws IOException {
        HttpRequest.Builder made =
                HttpRequest.newBuilder(uri)
                        .timeout(ATTEMPT)
                        .header("Content-Type", "application/json")
                        .POST(HttpRequest.BodyPublishers.ofString(batch));
        String path = System.getenv("SIDECAR_API_TOKEN_FILE");
        if (path != null && !path.isEmpty()) {
            made.header("Authorization", "Bearer " + Files.readString(Path.of(path)).strip());
        }
        return made.build();
    }

    public static void main(String[] given) throws Exception {
        String url = given.length > 0 ? given[0] : "http://127.0.0.1:8485";
        double seconds = given.length > 1 ? Double.parseDouble(given[1]) : 600;
        Report report = new Report(url, Duration.ofMillis((long) (seconds * 1000)));
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String batch = lines.readLine(); batch != null; batch = lines.readLine()) {
            try {
                System.out.println(report.send(batch));
            } catch (Refused refused) {
                System.err.println("refused: " + refused.getMessage());
                System.exit(65);
            } catch (NotKnown late) {
                System.err.println("not known to be kept: " + late.getMessage());
                System.exit(69);
            }
        }
    }
}
