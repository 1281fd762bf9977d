// Package caller identifies the caller of a call and determines its permissions,
// according to a callers file.
//
// A call has Credentials: the certificate of its connection, a token or a JSON Web Token,
// headers of a mesh's proxy, or only a name. Set.Identify returns the one caller that
// they belong to. Credentials of two different callers, and invalid credentials, are
// refused. Nothing is ignored but a certificate that belongs to no caller, and mesh
// headers from untrusted peers.
//
//	set.go              identification
//	policy.go           permissions of a caller
//	file.go, decode.go  parsing of the file
//	token.go            tokens
//	jwt.go              JSON Web Tokens and their issuers
//	issuerclient.go     requests to issuers
//	claims.go           the claims of a caller's JSON Web Tokens
//	mesh.go             headers of a mesh
package caller
