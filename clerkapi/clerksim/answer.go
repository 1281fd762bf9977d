package clerksim

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// answer is the answer to one request.
type answer struct {
	status     int
	body       []byte
	retryAfter string   // the header's text; empty: no header
	verdict    *verdict // nil without a quota, or if the request does not count
}

// refusal is an error of Clerk.
type refusal struct {
	status  int
	code    string
	message string
	param   string // the invalid parameter; may be empty
}

// badParam returns the 422 with which Clerk refuses a parameter.
func badParam(name, code, message string) *refusal {
	return &refusal{http.StatusUnprocessableEntity, code, message, name}
}

// errorCodes are the default codes by status.
var errorCodes = map[int]string{
	http.StatusBadRequest:            "bad_request",
	http.StatusUnauthorized:          "clerk_key_invalid",
	http.StatusPaymentRequired:       "user_quota_exceeded",
	http.StatusForbidden:             "authorization_invalid",
	http.StatusNotFound:              "resource_not_found",
	http.StatusUnprocessableEntity:   "form_param_value_invalid",
	http.StatusTooManyRequests:       "too_many_requests",
	http.StatusInternalServerError:   "internal_clerk_error",
	http.StatusServiceUnavailable:    "service_unavailable",
	http.StatusGatewayTimeout:        "gateway_timeout",
	http.StatusRequestEntityTooLarge: "request_body_too_large",
}

// plainRefusal returns a refusal with a status and its default code.
func plainRefusal(status int) *refusal {
	code := errorCodes[status]
	if code == "" {
		code = "unexpected_error"
	}
	return &refusal{status: status, code: code, message: http.StatusText(status)}
}

type errorBody struct {
	Errors  []errorEntry `json:"errors"`
	TraceID string       `json:"clerk_trace_id"`
}

type errorEntry struct {
	Message     string         `json:"message"`
	LongMessage string         `json:"long_message"`
	Code        string         `json:"code"`
	Meta        map[string]any `json:"meta,omitempty"`
}

// answer returns the refusal in Clerk's form.
func (r *refusal) answer(traceID string) answer {
	e := errorEntry{Message: r.message, LongMessage: r.message, Code: r.code}
	if r.param != "" {
		e.LongMessage = r.param + " " + r.message
		e.Meta = map[string]any{"param_name": r.param}
	}
	body, err := json.Marshal(errorBody{[]errorEntry{e}, traceID})
	if err != nil {
		panic(err) // strings always encode
	}
	return answer{status: r.status, body: body}
}

// header adds the headers of the answer to h.
func (a *answer) header(h http.Header, q Quota) {
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	if a.retryAfter != "" {
		h.Set("Retry-After", a.retryAfter)
	}
	if a.verdict == nil || q.Headers == NoHeaders {
		return
	}
	if !a.verdict.allowed {
		h.Set("Retry-After", seconds(a.verdict.retry))
	}
	if q.Headers == AllHeaders {
		h.Set("X-RateLimit-Limit", strconv.Itoa(q.Limit))
		h.Set("X-RateLimit-Remaining", strconv.Itoa(a.verdict.remaining))
		h.Set("X-RateLimit-Reset", seconds(a.verdict.reset))
	}
}

// seconds returns d in whole seconds, rounded up.
func seconds(d time.Duration) string {
	return strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10)
}
