package clerksim

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// answer is what a request gets.
type answer struct {
	status     int
	body       []byte
	retryAfter string   // the header's text; empty: no header
	verdict    *verdict // nil without a quota, or where the request did not count
}

// refusal is an error of Clerk's.
type refusal struct {
	status  int
	code    string
	message string
	param   string // the parameter to blame; may be empty
}

// badParam refuses a parameter, as Clerk does with 422.
func badParam(name, code, message string) *refusal {
	return &refusal{http.StatusUnprocessableEntity, code, message, name}
}

// errorCodes are the codes that go with a status, where no other is asked for.
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

// plainRefusal refuses with a status and the code that goes with it.
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

// answer writes the refusal in Clerk's shape.
func (r *refusal) answer(traceID string) answer {
	e := errorEntry{Message: r.message, LongMessage: r.message, Code: r.code}
	if r.param != "" {
		e.LongMessage = r.param + " " + r.message
		e.Meta = map[string]any{"param_name": r.param}
	}
	body, err := json.Marshal(errorBody{[]errorEntry{e}, traceID})
	if err != nil {
		panic(err) // strings alone always encode
	}
	return answer{status: r.status, body: body}
}

// header writes the headers of the answer to h.
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

// seconds is d in whole seconds, rounded up.
func seconds(d time.Duration) string {
	return strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10)
}
