package clerkapi

import (
	"net/http"
	"regexp"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
)

// Bounds of the part of an error's body that is kept.
const (
	maxErrorBody = 64 << 10 // bytes
	maxMessage   = 200      // runes
	maxStart     = 1 << 10  // bytes of a body that is not Clerk's, before cleaning
	maxCodes     = 10
)

// errorBody is the part of Clerk's error bodies that is used.
type errorBody struct {
	Errors []struct {
		Message     string `json:"message"`
		LongMessage string `json:"long_message"`
		Code        string `json:"code"`
	} `json:"errors"`
	TraceID string `json:"clerk_trace_id"`
}

var codes = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)

// answerError returns the *Error of an answer with another status than 200. The body may
// be cut off and in any format; a CDN sends HTML.
func answerError(status int, h http.Header, body []byte, now time.Time) *Error {
	e := &Error{Status: status, RetryAfter: retryAfter(h, now), Meta: readMeta(h)}
	var b errorBody
	if json.Unmarshal(body, &b, lenient) == nil {
		e.describe(b)
	}
	if e.Message == "" && len(e.Codes) == 0 {
		e.Message = Clean(string(body[:min(len(body), maxStart)]), maxMessage)
	}
	e.Kind = KindOf(status, e.Codes)
	return e
}

// describe sets the fields of e from Clerk's error body.
func (e *Error) describe(b errorBody) {
	for _, err := range b.Errors {
		if len(e.Codes) < maxCodes && codes.MatchString(err.Code) && Redact(err.Code) == err.Code {
			e.Codes = append(e.Codes, err.Code)
		}
		if e.Message == "" {
			e.Message = Clean(err.LongMessage, maxMessage)
		}
		if e.Message == "" {
			e.Message = Clean(err.Message, maxMessage)
		}
	}
	if e.Meta.TraceID == "" {
		e.Meta.TraceID = traceID(b.TraceID)
	}
}

// keyCodes are Clerk's codes for a rejected secret key.
var keyCodes = []string{
	"authentication_invalid",
	"authorization_header_format_invalid",
	"authorization_invalid",
	"clerk_key_invalid",
	"invalid_authentication",
	"secret_key_invalid",
}

// KindOf returns the kind of an answer with a status other than 200 and Clerk's codes. A
// 404 without Clerk's code may come from a wrong base URL, so it is not ErrNotFound.
func KindOf(status int, codes []string) error {
	has := func(code string) bool { return slices.Contains(codes, code) }
	switch {
	case status < http.StatusBadRequest:
		return ErrBadAnswer
	case status >= http.StatusInternalServerError, status == http.StatusRequestTimeout, status == http.StatusMisdirectedRequest:
		return ErrUnavailable
	case status == http.StatusTooManyRequests:
		return ErrRateLimited
	case slices.ContainsFunc(keyCodes, has), status == http.StatusUnauthorized && len(codes) == 0:
		return ErrKeyRejected
	case status == http.StatusNotFound && has("resource_not_found"):
		return ErrNotFound
	case status == http.StatusPaymentRequired:
		return ErrPlanLimit
	case status == http.StatusBadRequest, status == http.StatusUnprocessableEntity, tooLong(status):
		return ErrRejected
	}
	return ErrRefused
}

// tooLong reports whether a status means that the request is too long.
func tooLong(status int) bool {
	return status == http.StatusRequestEntityTooLarge || status == http.StatusRequestURITooLong ||
		status == http.StatusRequestHeaderFieldsTooLarge
}
