package clerksim

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// webhookTimeout is the time limit of a receiver's answer.
const webhookTimeout = 15 * time.Second

// webhookRetries are the delays before a refused event is sent again. Clerk continues for
// a day.
var webhookRetries = [...]time.Duration{200 * time.Millisecond, time.Second, 5 * time.Second, 30 * time.Second}

// SendWebhooks posts the events that Config.Webhook specifies, one at a time, until ctx
// ends. Serve calls it; call it yourself only if you serve the simulator in another way.
func (s *Sim) SendWebhooks(ctx context.Context) {
	o := s.outbox
	client := &http.Client{
		Transport:     o.transport,
		Timeout:       webhookTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	if client.Transport == nil {
		client.Transport = &http.Transport{}
		defer client.CloseIdleConnections()
	}
	for {
		d, due, ok := o.next(time.Now())
		if ok {
			o.settle(d, o.post(ctx, client, d), ctx.Err() != nil)
		} else {
			o.wait(ctx, due)
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// wait blocks until due (the zero time means never), a change of the queue, or the end of
// ctx.
func (o *outbox) wait(ctx context.Context, due time.Time) {
	var passed <-chan time.Time
	if !due.IsZero() {
		timer := time.NewTimer(time.Until(due))
		defer timer.Stop()
		passed = timer.C
	}
	select {
	case <-passed:
	case <-o.ready:
	case <-ctx.Done():
	}
}

// post sends a delivery and reports whether it was answered 2xx.
func (o *outbox) post(ctx context.Context, client *http.Client, d delivery) bool {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, o.config.URL, bytes.NewReader(d.body))
	if err != nil {
		return false
	}
	key := o.key
	if d.manner == forgery {
		key = append([]byte("not "), key...)
	}
	now := time.Now().Unix()
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Svix-Id", d.id)
	r.Header.Set("Svix-Timestamp", strconv.FormatInt(now, 10))
	r.Header.Set("Svix-Signature", signature(key, d.id, now, d.body))
	resp, err := client.Do(r)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, 1<<16) // so that the connection can be reused
	return resp.StatusCode/100 == 2
}

// signature returns Svix's signature of an event; Clerk sends events through Svix.
func signature(key []byte, id string, seconds int64, body []byte) string {
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%d.%s", id, seconds, body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// settle counts the result of a delivery and queues the next one, if any. An interrupted
// delivery stays queued.
func (o *outbox) settle(d delivery, taken, interrupted bool) {
	now := time.Now()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.leaving--
	switch {
	case interrupted && !taken:
		o.push(d)
	case d.manner == forgery:
		o.stats.Forged++
		if taken {
			o.stats.ForgedAccepted++
		}
	case taken:
		o.stats.Acknowledged++
		if d.manner == genuine {
			d.manner = repetition
			for range o.config.Repeat {
				d.due = now.Add(o.stray())
				o.push(d)
			}
		}
	default:
		o.stats.Refused++
		if d.refused == len(webhookRetries) || d.manner == repetition {
			if d.manner == genuine {
				o.stats.GivenUp++
			}
			return
		}
		d.due = now.Add(webhookRetries[d.refused])
		d.refused++
		o.push(d)
	}
}
