// Package caller decides who makes a call and what the caller may do, by a file of
// callers.
//
// A call shows Credentials: the certificate of its connection, a token or a JSON Web
// Token, headers of a mesh's proxy, or a mere name. Set.Identify finds the one caller
// that they belong to. Credentials of two different callers, and any that can't be
// used, are refused: nothing that is shown is passed over but a certificate that no
// caller has, and headers from peers that are not trusted with them.
//
// The files: set.go identifies, file.go and decode.go read the file, token.go, jwt.go
// and mesh.go read one kind of credentials each.
package caller
