// Package proof verifies in the product that AWS signed an answer to the product's own nonce. Go 1.22 or newer;
// nothing to install.
//
//	nonce := proof.NewNonce()
//	token, err := proof.Ask("http://127.0.0.1:8485", nonce, "")
//	_, err = proof.Verify(token, nonce, "prod-…", map[int]string{1: pem}, time.Now()) // an error: do not start
package proof

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math"
	"net/http"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	leewaySeconds      = 15 * 60
	tokenCharactersMax = 16384
)

// Rejected is a token that proves nothing. It holds nothing of the token.
type Rejected struct{ Reason string }

func (r *Rejected) Error() string { return r.Reason }

// NoProof is the sidecar's refusal. RetryAfter is empty where asking again changes nothing by itself.
type NoProof struct {
	Status             int
	Reason, RetryAfter string
}

func (n *NoProof) Error() string { return fmt.Sprintf("%d %s", n.Status, n.Reason) }

// NewNonce returns 32 fresh random bytes as 43 characters. Use each once.
func NewNonce() string {
	random := make([]byte, 32)
	if _, err := rand.Read(random); err != nil {
		panic(err)
	}
	return base64.RawURLEncoding.EncodeToString(random)
}

// Ask returns the sidecar's token for this nonce, not verified; *NoProof where the sidecar refuses.
// apiToken is what SIDECAR_API_TOKEN_FILE holds, or empty.
func Ask(url, nonce, apiToken string) (string, error) {
	body, err := json.Marshal(map[string]string{"nonce": nonce})
	if err != nil {
		return "", err
	}
	request, err := http.NewRequest(http.MethodPost, url+"/v1/proof", bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	request.Header.Set("Content-Type", "application/json")
	if apiToken != "" {
		request.Header.Set("Authorization", "Bearer "+apiToken)
	}
	client := http.Client{Timeout: time.Minute, Transport: &http.Transport{}} // a transport without a proxy
	reply, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer reply.Body.Close()
	var found struct{ Token, Reason string }
	_ = json.NewDecoder(io.LimitReader(reply.Body, 4*tokenCharactersMax)).Decode(&found)
	if reply.StatusCode != http.StatusOK {
		return "", &NoProof{reply.StatusCode, found.Reason, reply.Header.Get("Retry-After")}
	}
	return found.Token, nil
}

// Verify proves that AWS signed token for this product and nonce. It returns the version of the key that signed it, or
// a *Rejected. publicKeys holds a PEM for each version that the product ships.
func Verify(token, nonce, productCode string, publicKeys map[int]string, now time.Time) (int, error) {
	versions := make([]int, 0, len(publicKeys))
	for version := range publicKeys {
		versions = append(versions, version)
	}
	sort.Sort(sort.Reverse(sort.IntSlice(versions)))
	reason := ""
	for _, version := range versions {
		expected := []claim{
			{"productCode", productCode}, {"publicKeyVersion", strconv.Itoa(version)}, {"nonce", nonce},
		}
		refused := check(token, publicKeys[version], expected, float64(now.UnixNano())/1e9)
		if refused == "" {
			return version, nil
		}
		if reason == "" || reason == "token_signature" {
			reason = refused
		}
	}
	if reason == "" {
		reason = "public_key_unreadable"
	}
	return 0, &Rejected{reason}
}

type claim struct{ name, wanted string }

// members are those of a JSON object, each value as it was written: 1.0 is not 1.
type members map[string]json.RawMessage

// check returns why the token proves nothing, or an empty text.
func check(token, key string, expected []claim, now float64) string {
	public := readKey(key)
	parts := strings.Split(token, ".")
	switch {
	case public == nil:
		return "public_key_unreadable"
	case token == "":
		return "signature_missing"
	case len(token) > tokenCharactersMax || len(parts) != 3:
		return "token_malformed"
	}
	head, payload, signature := decoded(parts[0]), decoded(parts[1]), decoded(parts[2])
	if head == nil || payload == nil || signature == nil {
		return "token_malformed"
	}
	if reason := checkHeader(read(head)); reason != "" {
		return reason
	}
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	salt := &rsa.PSSOptions{SaltLength: 32}
	if rsa.VerifyPSS(public, crypto.SHA256, digest[:], signature, salt) != nil {
		return "token_signature"
	}
	claims := read(payload)
	switch {
	case claims == nil:
		return "token_malformed"
	case repeated(json.NewDecoder(bytes.NewReader(payload))):
		return "token_contradicts_itself"
	}
	if reason := checkRegistered(claims); reason != "" {
		return reason
	}
	for _, one := range expected {
		if reason := checkClaim(claims, one); reason != "" {
			return reason
		}
	}
	return checkAge(claims, now)
}

func readKey(text string) *rsa.PublicKey {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil
	}
	public, _ := key.(*rsa.PublicKey)
	return public
}

// decoded returns the bytes of a part, or nil: base64url has one spelling of each, and Go's decoder takes others.
func decoded(part string) []byte {
	data, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(part, "="))
	padded := base64.URLEncoding.EncodeToString(data)
	if err != nil || (part != padded && part != strings.TrimRight(padded, "=")) {
		return nil
	}
	return append([]byte{}, data...) // not nil where it is empty
}

// read returns the members of a JSON object, or nil. A map and no struct: names of a struct match in any casing.
func read(data []byte) members {
	var found members
	if !utf8.Valid(data) || json.Unmarshal(data, &found) != nil {
		return nil
	}
	return found
}

// repeated tells whether an object in a valid JSON document gives a name twice.
func repeated(decoder *json.Decoder) bool {
	token, _ := decoder.Token()
	open, nested := token.(json.Delim)
	if !nested {
		return false
	}
	seen, twice := map[string]bool{}, false
	for decoder.More() {
		if open == '{' {
			name, _ := decoder.Token()
			text, _ := name.(string)
			twice = twice || seen[text]
			seen[text] = true
		}
		twice = repeated(decoder) || twice
	}
	_, _ = decoder.Token()
	return twice
}

func checkHeader(header members) string {
	if header == nil {
		return "token_malformed"
	}
	if text, ok := textOf(header["alg"]); !ok || text != "PS256" {
		return "token_algorithm"
	}
	_, crit := header["crit"]
	_, unencoded := header["b64"]
	texts := areTexts(header, "typ", "cty", "kid", "jku", "x5u", "x5t", "x5t#S256")
	if crit || unencoded || !texts || !isURL(header["jku"]) || !isURL(header["x5u"]) {
		return "token_malformed"
	}
	if jwk, there := header["jwk"]; there && jwk[0] != '{' {
		return "token_malformed"
	}
	if chain, there := header["x5c"]; there && (chain[0] != '[' || !isTextOrTexts(chain)) {
		return "token_malformed"
	}
	return ""
}

// checkRegistered refuses registered claims of a wrong type. Their values mean nothing here: the product code says for
// whom a token is.
func checkRegistered(claims members) string {
	audience, there := claims["aud"]
	if !areTexts(claims, "iss", "sub", "jti") || there && !isTextOrTexts(audience) {
		return "token_malformed"
	}
	return ""
}

// areTexts tells whether each of these members is text, where it is there.
func areTexts(found members, names ...string) bool {
	for _, name := range names {
		if value, there := found[name]; there {
			if _, ok := textOf(value); !ok {
				return false
			}
		}
	}
	return true
}

// isURL tells whether a text is a URL; one that is not there is none to refuse.
func isURL(value json.RawMessage) bool {
	text, _ := textOf(value)
	return value == nil || strings.HasPrefix(text, "http://") || strings.HasPrefix(text, "https://")
}

func isTextOrTexts(value json.RawMessage) bool {
	var all []json.RawMessage
	if value[0] != '[' {
		all = append(all, value)
	} else if json.Unmarshal(value, &all) != nil {
		return false
	}
	for _, one := range all {
		if _, ok := textOf(one); !ok {
			return false
		}
	}
	return true
}

var (
	integer = regexp.MustCompile(`^-?[0-9]+$`)
	capital = regexp.MustCompile(`[A-Z]`)
)

// checkClaim looks for a claim under either casing; both at once must agree.
func checkClaim(claims members, one claim) string {
	wrong := "token_" + strings.ToLower(capital.ReplaceAllString(one.name, "_$0"))
	var values []string
	for _, name := range []string{one.name, strings.ToUpper(one.name[:1]) + one.name[1:]} {
		value, there := claims[name]
		if !there {
			continue
		}
		text, ok := textOf(value)
		if one.name == "publicKeyVersion" && integer.Match(value) {
			text, ok = string(value), true
		}
		if !ok {
			return wrong
		}
		values = append(values, text)
	}
	switch {
	case len(values) == 0:
		return wrong
	case values[0] != values[len(values)-1]:
		return "token_contradicts_itself"
	case values[0] != one.wanted:
		return wrong
	}
	return ""
}

func checkAge(claims members, now float64) string {
	least, most := now-leewaySeconds, now+leewaySeconds
	for _, one := range []struct {
		name      string
		low, high float64
	}{{"iat", least, most}, {"exp", least, math.Inf(1)}, {"nbf", 0, most}} {
		value, there := claims[one.name]
		if !there {
			continue
		}
		var number json.Number
		isNumber := value[0] != '"' && json.Unmarshal(value, &number) == nil && number != ""
		at, _ := strconv.ParseFloat(string(number), 64) // what no float holds is infinite
		if !isNumber || at < 0 || at < one.low || at > one.high {
			return "token_" + one.name
		}
	}
	return ""
}

func textOf(value json.RawMessage) (string, bool) {
	var text string
	ok := len(value) > 0 && value[0] == '"' && json.Unmarshal(value, &text) == nil
	return text, ok
}
