import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.util.Base64;
import java.util.HashMap;
import java.util.Map;

/**
 * Prints the verdict of each vector: a line of base64 fields in, its name and verdict out. With arguments (address,
 * nonce, product code, PEM) it asks a sidecar instead, and prints the key version of its verified proof.
 */
final class Vectors {
    private static String text(String field) {
        return new String(Base64.getDecoder().decode(field), StandardCharsets.UTF_8);
    }

    public static void main(String[] given) throws IOException, InterruptedException, Proof.Rejected {
        if (given.length == 4) {
            String token = Proof.ask(given[0], given[1], null);
            System.out.println(Proof.verify(token, given[1], given[2], Map.of(1, given[3]), Instant.now()));
            return;
        }
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            String[] fields = line.split("\t", -1);
            Map<Integer, String> keys = new HashMap<>();
            for (String one : fields[5].isEmpty() ? new String[0] : fields[5].split(",")) {
                keys.put(Integer.valueOf(one.split(":")[0]), text(one.split(":")[1]));
            }
            String verdict = "verified";
            try {
                Instant now = Instant.ofEpochSecond(Long.parseLong(fields[4]));
                Proof.verify(text(fields[1]), text(fields[2]), text(fields[3]), keys, now);
            } catch (Proof.Rejected exception) {
                verdict = exception.getMessage();
            }
            System.out.println(fields[0] + "\t" + verdict);
        }
    }
}
