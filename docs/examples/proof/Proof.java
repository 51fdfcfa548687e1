import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.SecureRandom;
import java.security.Signature;
import java.security.interfaces.RSAPublicKey;
import java.security.spec.MGF1ParameterSpec;
import java.security.spec.PSSParameterSpec;
import java.security.spec.X509EncodedKeySpec;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Verifies in the product that AWS signed an answer to the product's own nonce. Java 17 or newer; nothing to install.
 *
 * <pre>
 * String nonce = Proof.newNonce();
 * String token = Proof.ask("http://127.0.0.1:8485", nonce, null);
 * Proof.verify(token, nonce, "prod-…", Map.of(1, PEM), Instant.now()); // throws: do not start
 * </pre>
 */
public final class Proof {
    private static final double LEEWAY_SECONDS = 15 * 60;
    private static final int TOKEN_CHARACTERS_MAX = 16384;

    private static final List<String> TEXT_HEADERS = List.of("typ", "cty", "kid", "jku", "x5u", "x5t", "x5t#S256");
    private static final List<String> URL_HEADERS = List.of("jku", "x5u");

    private Proof() {}

    /** A token that proves nothing. Its message is the reason, with nothing of the token. */
    public static final class Rejected extends Exception {
        private static final long serialVersionUID = 1;

        Rejected(String reason) {
            super(reason);
        }
    }

    /** The sidecar gave no token. */
    public static final class NoProof extends IOException {
        private static final long serialVersionUID = 1;
        public final int status;
        /** Seconds, or empty where asking again changes nothing by itself. */
        public final String retryAfter;

        NoProof(int status, String reason, String retryAfter) {
            super(status + " " + reason);
            this.status = status;
            this.retryAfter = retryAfter;
        }
    }

    /** Returns 32 fresh random bytes as 43 characters. Use each once. */
    public static String newNonce() {
        byte[] random = new byte[32];
        new SecureRandom().nextBytes(random);
        return Base64.getUrlEncoder().withoutPadding().encodeToString(random);
    }

    /** Returns the sidecar's token for a nonce of {@link #newNonce}, not verified. {@code apiToken}: may be null. */
    public static String ask(String url, String nonce, String apiToken) throws IOException, InterruptedException {
        HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(url + "/v1/proof"))
                .timeout(Duration.ofMinutes(1))
                .header("Content-Type", "application/json")
                .POST(HttpRequest.BodyPublishers.ofString("{\"nonce\": \"" + nonce + "\"}"));
        if (apiToken != null) {
            request.header("Authorization", "Bearer " + apiToken);
        }
        HttpClient client = HttpClient.newBuilder().proxy(HttpClient.Builder.NO_PROXY).build();
        HttpResponse<byte[]> reply = client.send(request.build(), HttpResponse.BodyHandlers.ofByteArray());
        Map<String, Object> found = Map.of();
        try {
            found = Json.object(reply.body()).members();
        } catch (Rejected noJson) {
            // a refusal without a reason, or a token that is none
        }
        if (reply.statusCode() != 200) {
            String retryAfter = reply.headers().firstValue("Retry-After").orElse("");
            throw new NoProof(reply.statusCode(), String.valueOf(found.get("reason")), retryAfter);
        }
        return found.get("token") instanceof String token ? token : "";
    }

    /**
     * Proves that AWS signed {@code token} for this product and nonce, now. {@code publicKeys}: version to PEM, those that
     * the product ships.
     *
     * @return the version of the key that signed it
     */
    public static int verify(
            String token, String nonce, String productCode, Map<Integer, String> publicKeys, Instant now)
            throws Rejected {
        Rejected refused = null;
        for (Map.Entry<Integer, String> key : new TreeMap<>(publicKeys).descendingMap().entrySet()) {
            Map<String, String> expected = new LinkedHashMap<>();
            expected.put("productCode", productCode);
            expected.put("publicKeyVersion", key.getKey().toString());
            expected.put("nonce", nonce);
            try {
                check(token, readKey(key.getValue()), expected, now.toEpochMilli() / 1000.0);
                return key.getKey();
            } catch (Rejected exception) {
                boolean better = refused == null || refused.getMessage().equals("token_signature");
                refused = better ? exception : refused;
            }
        }
        throw refused == null ? new Rejected("public_key_unreadable") : refused;
    }

    private static void check(String token, RSAPublicKey key, Map<String, String> expected, double now)
            throws Rejected {
        if (token == null || token.isEmpty()) {
            throw new Rejected("signature_missing");
        }
        String[] parts = token.split("\\.", -1);
        if (token.length() > TOKEN_CHARACTERS_MAX || parts.length != 3) {
            throw new Rejected("token_malformed");
        }
        byte[] head = decoded(parts[0]);
        byte[] payload = decoded(parts[1]);
        byte[] signature = decoded(parts[2]);
        checkHeader(Json.object(head).members());
        if (!signs(key, parts[0] + "." + parts[1], signature)) {
            throw new Rejected("token_signature");
        }
        Json claims = Json.object(payload);
        if (claims.repeated) {
            throw new Rejected("token_contradicts_itself");
        }
        checkRegistered(claims.members());
        for (Map.Entry<String, String> one : expected.entrySet()) {
            if (!claim(claims.members(), one.getKey()).equals(one.getValue())) {
                throw new Rejected(reasonOf(one.getKey()));
            }
        }
        checkAge(claims.members(), now);
    }

    private static RSAPublicKey readKey(String pem) throws Rejected {
        Matcher body = Pattern.compile("-----BEGIN PUBLIC KEY-----(.+?)-----END PUBLIC KEY-----", Pattern.DOTALL)
                .matcher(pem);
        try {
            byte[] key = Base64.getDecoder().decode(body.find() ? body.group(1).replaceAll("\\s", "") : "");
            return (RSAPublicKey) KeyFactory.getInstance("RSA").generatePublic(new X509EncodedKeySpec(key));
        } catch (GeneralSecurityException | IllegalArgumentException exception) {
            throw new Rejected("public_key_unreadable");
        }
    }

    private static boolean signs(RSAPublicKey key, String text, byte[] signature) {
        try {
            Signature verifier = Signature.getInstance("RSASSA-PSS");
            verifier.setParameter(new PSSParameterSpec("SHA-256", "MGF1", MGF1ParameterSpec.SHA256, 32, 1));
            verifier.initVerify(key);
            verifier.update(text.getBytes(StandardCharsets.US_ASCII));
            return verifier.verify(signature);
        } catch (GeneralSecurityException exception) {
            return false; // such as a signature of another length
        }
    }

    /** Base64url has one spelling of each text; Java's decoder takes others. */
    private static byte[] decoded(String part) throws Rejected {
        try {
            byte[] data = Base64.getUrlDecoder().decode(part);
            String padded = Base64.getUrlEncoder().encodeToString(data);
            String bare = Base64.getUrlEncoder().withoutPadding().encodeToString(data);
            if (part.equals(padded) || part.equals(bare)) {
                return data;
            }
        } catch (IllegalArgumentException exception) {
            // not base64url
        }
        throw new Rejected("token_malformed");
    }

    private static void checkHeader(Map<String, Object> header) throws Rejected {
        if (!"PS256".equals(header.get("alg"))) {
            throw new Rejected("token_algorithm");
        }
        boolean asksForMore = header.containsKey("crit") || header.containsKey("b64");
        boolean chain = header.getOrDefault("x5c", List.of()) instanceof List<?> texts && areTexts(texts);
        if (asksForMore || !chain || !(header.getOrDefault("jwk", Map.of()) instanceof Map)) {
            throw new Rejected("token_malformed");
        }
        checkTexts(header, TEXT_HEADERS);
        for (String name : URL_HEADERS) {
            String url = (String) header.getOrDefault(name, "https://");
            if (!url.startsWith("http://") && !url.startsWith("https://")) {
                throw new Rejected("token_malformed");
            }
        }
    }

    /** Registered claims have a type; their values mean nothing here, as the product code says for whom a token is. */
    private static void checkRegistered(Map<String, Object> claims) throws Rejected {
        checkTexts(claims, List.of("iss", "sub", "jti"));
        Object audience = claims.getOrDefault("aud", "");
        if (!(audience instanceof String) && !(audience instanceof List<?> texts && areTexts(texts))) {
            throw new Rejected("token_malformed");
        }
    }

    private static void checkTexts(Map<String, Object> found, List<String> names) throws Rejected {
        for (String name : names) {
            if (found.containsKey(name) && !(found.get(name) instanceof String)) {
                throw new Rejected("token_malformed");
            }
        }
    }

    private static boolean areTexts(List<?> found) {
        return found.stream().allMatch(one -> one instanceof String);
    }

    /** Returns a claim under either casing; both at once must agree. */
    private static String claim(Map<String, Object> claims, String name) throws Rejected {
        Set<String> values = new LinkedHashSet<>();
        for (String spelling : List.of(name, name.substring(0, 1).toUpperCase() + name.substring(1))) {
            if (!claims.containsKey(spelling)) {
                continue;
            }
            Object value = claims.get(spelling);
            boolean integer = value instanceof Json.Written number && number.text().matches("-?[0-9]+");
            if (name.equals("publicKeyVersion") && integer) {
                value = ((Json.Written) value).text();
            }
            if (!(value instanceof String)) {
                throw new Rejected(reasonOf(name));
            }
            values.add((String) value);
        }
        if (values.size() != 1) {
            throw new Rejected(values.isEmpty() ? reasonOf(name) : "token_contradicts_itself");
        }
        return values.iterator().next();
    }

    private static void checkAge(Map<String, Object> claims, double now) throws Rejected {
        double least = now - LEEWAY_SECONDS;
        double most = now + LEEWAY_SECONDS;
        checkTime(claims, "iat", least, most);
        checkTime(claims, "exp", least, Double.POSITIVE_INFINITY);
        checkTime(claims, "nbf", 0, most);
    }

    private static void checkTime(Map<String, Object> claims, String name, double low, double high) throws Rejected {
        if (!claims.containsKey(name)) {
            return;
        }
        double at = claims.get(name) instanceof Json.Written number ? Double.parseDouble(number.text()) : -1;
        if (!(at >= 0 && low <= at && at <= high)) {
            throw new Rejected("token_" + name);
        }
    }

    private static String reasonOf(String claim) {
        return "token_" + claim.replaceAll("([A-Z])", "_$1").toLowerCase();
    }

    /** A JSON document, since the standard library reads none: strict, with each number as it was written. */
    private static final class Json {
        private static final Pattern NUMBER = Pattern.compile("-?(?:0|[1-9][0-9]*)(?:\\.[0-9]+)?(?:[eE][+-]?[0-9]+)?");
        private static final Pattern TEXT =
                Pattern.compile("\"(?:[^\"\\\\\\x00-\\x1f]|\\\\(?:[\"\\\\/bfnrt]|u[0-9a-fA-F]{4}))*+\"");
        private static final int DEPTH_MAX = 100;

        /** A number: 1.0 is not 1. */
        record Written(String text) {}

        private final String document;
        private int at;
        private Map<String, Object> members;
        /** Whether an object gives a name twice. */
        boolean repeated;

        private Json(String document) {
            this.document = document;
        }

        Map<String, Object> members() {
            return members;
        }

        @SuppressWarnings("unchecked")
        static Json object(byte[] data) throws Rejected {
            try {
                Json json = new Json(StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(data)).toString());
                Object found = json.value(0);
                json.blanks();
                if (json.at == json.document.length() && found instanceof Map) {
                    json.members = (Map<String, Object>) found;
                    return json;
                }
            } catch (CharacterCodingException exception) {
                // not UTF-8
            }
            throw new Rejected("token_malformed");
        }

        private Object value(int depth) throws Rejected {
            blanks();
            if (depth > DEPTH_MAX) {
                throw new Rejected("token_malformed");
            } else if (took("{")) {
                return object(depth);
            } else if (took("[")) {
                return list(depth);
            } else if (took("true")) {
                return true;
            } else if (took("false")) {
                return false;
            } else if (took("null")) {
                return null;
            } else if (document.startsWith("\"", at)) {
                return text();
            }
            return new Written(matched(NUMBER));
        }

        private Map<String, Object> object(int depth) throws Rejected {
            Map<String, Object> found = new LinkedHashMap<>();
            Set<String> names = new HashSet<>();
            blanks();
            if (took("}")) {
                return found;
            }
            do {
                blanks();
                String name = text();
                repeated |= !names.add(name);
                blanks();
                expect(":");
                found.put(name, value(depth + 1));
                blanks();
            } while (took(","));
            expect("}");
            return found;
        }

        private List<Object> list(int depth) throws Rejected {
            List<Object> found = new ArrayList<>();
            blanks();
            if (took("]")) {
                return found;
            }
            do {
                found.add(value(depth + 1));
                blanks();
            } while (took(","));
            expect("]");
            return found;
        }

        private String text() throws Rejected {
            String written = matched(TEXT);
            StringBuilder found = new StringBuilder();
            for (int i = 1; i < written.length() - 1; i++) {
                char one = written.charAt(i);
                if (one != '\\') {
                    found.append(one);
                } else if (written.charAt(++i) == 'u') {
                    found.append((char) Integer.parseInt(written.substring(i + 1, i + 5), 16));
                    i += 4;
                } else {
                    int escape = "bfnrt".indexOf(written.charAt(i));
                    found.append(escape < 0 ? written.charAt(i) : "\b\f\n\r\t".charAt(escape));
                }
            }
            return found.toString();
        }

        private String matched(Pattern pattern) throws Rejected {
            Matcher found = pattern.matcher(document).region(at, document.length());
            if (!found.lookingAt()) {
                throw new Rejected("token_malformed");
            }
            at = found.end();
            return found.group();
        }

        private void blanks() {
            while (at < document.length() && " \t\r\n".indexOf(document.charAt(at)) >= 0) {
                at++;
            }
        }

        private boolean took(String word) {
            boolean there = document.startsWith(word, at);
            at += there ? word.length() : 0;
            return there;
        }

        private void expect(String word) throws Rejected {
            if (!took(word)) {
                throw new Rejected("token_malformed");
            }
        }
    }
}
