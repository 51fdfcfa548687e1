// Report usage from the product: each batch counts once, whatever happens on the way. Go 1.22; nothing to install.
//
//	err := send(ctx, "http://127.0.0.1:8485", []byte(`[{"dimension": "requests", "quantity": 3, "id": "order-17"}]`))
//
//	go run report.go [URL [SECONDS]] < batches    # a line is a batch: a JSON array of events; exit 0, 65 or 69
//	URL is http://HOST:PORT or unix:/PATH
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

const (
	backoffFirst   = 100 * time.Millisecond
	backoffMax     = 10 * time.Second
	attemptTimeout = 10 * time.Second
)

// Refused says that the sidecar takes none of these events, now or later.
type Refused struct {
	Status int
	Reason string `json:"reason"`
	Detail string `json:"detail"`
	Index  *int   `json:"index"`
}

func (r *Refused) Error() string { return fmt.Sprintf("%d %s: %s", r.Status, r.Reason, r.Detail) }

// Kept is what came of a batch: accepted + duplicates = events sent.
type Kept struct {
	Accepted   int `json:"accepted"`
	Duplicates int `json:"duplicates"`
}

// No proxy: what is reported goes to the sidecar beside the product.
var client = &http.Client{Timeout: attemptTimeout, Transport: &http.Transport{}}

// over returns a client and the base of its URLs: unix:/PATH is a socket.
func over(url string) (*http.Client, string) {
	path, unix := strings.CutPrefix(url, "unix:")
	if !unix {
		return client, url
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}
	transport := &http.Transport{DialContext: dial, DisableKeepAlives: true}
	return &http.Client{Timeout: attemptTimeout, Transport: transport}, "http://localhost"
}

// send posts one batch, in which every event has its own id, until it is kept or refused. Where ctx ends first, whether
// the events count is unknown: keep them, and send them again with the same ids.
func send(ctx context.Context, url string, batch []byte) (Kept, error) {
	if !identified(batch) {
		detail := "a batch is an array of events, each with an id; without one it could count twice"
		return Kept{}, &Refused{Reason: "no_id", Detail: detail}
	}
	for backoff := backoffFirst; ; backoff = min(2*backoff, backoffMax) {
		kept, after, err := post(ctx, url, batch)
		var refused *Refused
		if err == nil || errors.As(err, &refused) {
			return kept, err
		}
		// Perhaps it was kept: the ids make sure that it counts once.
		pause := time.NewTimer(after + time.Duration(rand.Int63n(int64(backoff))))
		select {
		case <-ctx.Done():
			pause.Stop()
			return Kept{}, fmt.Errorf("not known to be kept: %w", err)
		case <-pause.C:
		}
	}
}

// identified says whether the batch is an array of objects of which each has an id.
func identified(batch []byte) bool {
	var events []map[string]json.RawMessage
	if json.Unmarshal(batch, &events) != nil || events == nil {
		return false
	}
	for _, event := range events {
		if id := string(event["id"]); id == "" || id == "null" || id == `""` {
			return false
		}
	}
	return true
}

// post makes one attempt. It returns how long the sidecar wants to be left alone, where the attempt failed.
func post(ctx context.Context, url string, batch []byte) (kept Kept, after time.Duration, err error) {
	client, base := over(url)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/v1/usage", bytes.NewReader(batch))
	if err != nil {
		return kept, 0, err
	}
	request.Header.Set("Content-Type", "application/json")
	if path := os.Getenv("SIDECAR_API_TOKEN_FILE"); path != "" {
		token, err := os.ReadFile(path)
		if err != nil {
			return kept, 0, err
		}
		request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	}
	answer, err := client.Do(request)
	if err != nil {
		return kept, 0, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	switch {
	case err != nil:
		return kept, 0, err
	case answer.StatusCode < 300:
		return kept, 0, json.Unmarshal(body, &kept)
	case answer.StatusCode != 429 && answer.StatusCode < 500:
		refused := &Refused{}
		_ = json.Unmarshal(body, refused)
		refused.Status = answer.StatusCode
		return kept, 0, refused
	}
	seconds, _ := strconv.Atoi(answer.Header.Get("Retry-After"))
	return kept, time.Duration(seconds) * time.Second, fmt.Errorf("%d %s", answer.StatusCode, body)
}

func main() {
	url, seconds := "http://127.0.0.1:8485", 600.0
	if len(os.Args) > 1 {
		url = os.Args[1]
	}
	if len(os.Args) > 2 {
		seconds, _ = strconv.ParseFloat(os.Args[2], 64)
	}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(seconds*float64(time.Second)))
		kept, err := send(ctx, url, lines.Bytes())
		cancel()
		var refused *Refused
		if errors.As(err, &refused) {
			fmt.Fprintln(os.Stderr, "refused:", err)
			os.Exit(65)
		} else if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(69)
		}
		_ = json.NewEncoder(os.Stdout).Encode(kept)
	}
	if err := lines.Err(); err != nil {
		fmt.Fprintln(os.Stderr, "refused: nothing from this line on was sent; a line is at most 1 MiB:", err)
		os.Exit(65)
	}
}
