package clerksim

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"time"
)

// dripSize is the number of bytes that a slow answer sends at a time.
const dripSize = 64

// serveFault answers a request with its fault.
func (s *Sim) serveFault(w http.ResponseWriter, r *http.Request, in *arrivedRequest) {
	f := in.fault
	switch f.Kind {
	case FaultHang:
		s.answered(in.request, 0)
		<-r.Context().Done()
	case FaultReset:
		s.answered(in.request, 0)
		resetConnection(w)
	case FaultTruncated:
		s.truncate(w, in)
	case FaultGarbage:
		s.finish(w, in, answer{status: http.StatusOK, body: []byte(`[{"id":"user_` + "\x00\xff<<<")})
	case FaultHTML:
		s.answered(in.request, f.Status)
		writePage(w, f.Status)
	case FaultSlow:
		s.drip(w, r, in)
	case FaultHuge:
		s.answered(in.request, http.StatusOK)
		writeEndlessly(w)
	case FaultWrongUser:
		s.finish(w, in, answer{status: http.StatusOK, body: s.wrongBody(in.request)})
	default:
		refuse := plainRefusal(f.Status)
		if f.Code != "" {
			refuse.code = f.Code
		}
		a := refuse.answer(in.traceID)
		a.retryAfter = f.RetryAfter
		s.finish(w, in, a)
	}
}

// finish sends an answer without a fault.
func (s *Sim) finish(w http.ResponseWriter, in *arrivedRequest, a answer) {
	a.verdict = in.verdict
	s.answered(in.request, a.status)
	s.write(w, a)
}

// resetConnection closes the connection so that the client sees a reset. It resets only
// the stream under HTTP/2, whose connections can't be hijacked.
func resetConnection(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	inner := conn
	if t, ok := conn.(*tls.Conn); ok {
		inner = t.NetConn()
	}
	if t, ok := inner.(*net.TCPConn); ok {
		_ = t.SetLinger(0) // otherwise the client would see an orderly close
	}
	_ = inner.Close() // its error does not matter
}

// truncate announces the right answer and sends half of it.
func (s *Sim) truncate(w http.ResponseWriter, in *arrivedRequest) {
	a := s.answer(in)
	s.answered(in.request, a.status)
	s.writeHeader(w, a)
	_, _ = w.Write(a.body[:len(a.body)/2])
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler) // net/http's way to abort an answer
}

// drip sends the right answer slowly.
func (s *Sim) drip(w http.ResponseWriter, r *http.Request, in *arrivedRequest) {
	a := s.answer(in)
	s.answered(in.request, a.status)
	s.writeHeader(w, a)
	interval := time.Duration(in.fault.IntervalMS) * time.Millisecond
	for rest := a.body; len(rest) > 0 && sleep(r.Context(), interval); {
		n := min(dripSize, len(rest))
		_, _ = w.Write(rest[:n])
		_ = http.NewResponseController(w).Flush()
		rest = rest[n:]
	}
}

// writePage sends a page like a CDN's when the service behind it fails.
func writePage(w http.ResponseWriter, status int) {
	w.Header().Set("Content-Type", "text/html; charset=UTF-8")
	w.WriteHeader(status)
	title := fmt.Sprintf("%d: %s", status, http.StatusText(status))
	_, _ = fmt.Fprintf(w, "<!DOCTYPE html>\n<html><head><title>%s</title></head><body><h1>%s</h1></body></html>\n", title, title)
}

// writeEndlessly sends a JSON array without an end, until the client leaves.
func writeEndlessly(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	filler := bytes.Repeat([]byte("0123456789abcdef"), 2048)
	_, err := w.Write([]byte(`[{"object":"user","id":"user_`))
	for err == nil {
		_, err = w.Write(filler)
	}
}

// wrongBody returns an answer with the stranger in place of the first requested user, or
// of a page.
func (s *Sim) wrongBody(req *request) []byte {
	if req.endpoint == Get {
		return s.stranger.text
	}
	users := []*record{s.stranger}
	if req.endpoint == List {
		return array(users)
	}
	for _, id := range req.ids[1:] {
		if r := s.users.get(id); r != nil {
			users = append(users, r)
		}
	}
	return array(users)
}
