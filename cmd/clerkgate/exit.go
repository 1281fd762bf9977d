package main

import "google.golang.org/grpc/codes"

// Exit codes.
const (
	exitFailed      = 1 // a failure of clerkgate itself, or of the machine
	exitUsage       = 2 // invalid flags, environment or configuration file
	exitNotFound    = 3
	exitInvalid     = 4
	exitRefused     = 5
	exitUnavailable = 6
	exitDenied      = 7
	exitInterrupted = 130 // as shells count it for SIGINT
)

// exitCodes describes them.
const exitCodes = "0 success; 1 a failure of clerkgate or the machine; 2 invalid flags, environment or configuration file; 3 not found; 4 invalid arguments; " +
	"5 refused because of the quota or a limit; 6 the server, Redis or Clerk is unavailable, or an operator must act; 7 permission denied; 130 interrupted. Of several failures, the highest code counts."

// exitCode returns the code for the failure of a call.
func exitCode(c codes.Code) int {
	switch c {
	case codes.OK:
		return 0
	case codes.NotFound:
		return exitNotFound
	case codes.InvalidArgument, codes.OutOfRange, codes.Aborted:
		return exitInvalid
	case codes.ResourceExhausted:
		return exitRefused
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled, codes.FailedPrecondition:
		return exitUnavailable
	case codes.PermissionDenied, codes.Unauthenticated:
		return exitDenied
	}
	return exitFailed
}

// codedError is a failure with its exit code. An empty message has been printed already.
type codedError struct {
	message string
	code    int
}

func (e *codedError) Error() string { return e.message }
