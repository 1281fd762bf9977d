//go:build generators

package generators

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// Debian's files that generated code is compiled with.
const (
	python = "/usr/bin/python3" // the one that python3-grpcio is for
	jars   = "/usr/share/java"
	phpLib = "/usr/share/php"
)

// TestClients reads a user with code generated for each language.
func TestClients(t *testing.T) {
	address, program := serve(t)
	var user struct {
		ID             string    `json:"id"`
		FirstName      string    `json:"first_name"`
		CreatedAt      time.Time `json:"created_at"`
		EmailAddresses []struct {
			EmailAddress string `json:"email_address"`
		} `json:"email_addresses"`
	}
	text := run(t, ".", program, "list", "--address", address, "--limit", "1", "-o", "json")
	if err := json.Unmarshal([]byte(text), &user); err != nil || len(user.EmailAddresses) == 0 {
		t.Fatalf("clerkgate list: %v: %s", err, text)
	}
	own := fmt.Sprintf("%s\n%s\n%s\n%d\n", user.ID, user.FirstName, user.EmailAddresses[0].EmailAddress, user.CreatedAt.UnixMilli())
	all := own + "private: false true\nNOT_FOUND USER_NOT_FOUND\n100\n"
	check := func(t *testing.T, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("printed\n%s\nwant\n%s", got, want)
		}
	}

	t.Run("Python", func(t *testing.T) {
		out := protoc(t, contract, "--python_out=OUT", "--grpc_out=OUT", "--plugin=protoc-gen-grpc=/usr/bin/grpc_python_plugin")
		t.Setenv("PYTHONPATH", out)
		check(t, run(t, "testdata/python", python, "read.py", address, user.ID), all)
	})
	t.Run("Ruby", func(t *testing.T) {
		out := protoc(t, contract, "--ruby_out=OUT", "--grpc_out=OUT", "--plugin=protoc-gen-grpc=/usr/bin/grpc_ruby_plugin")
		check(t, run(t, "testdata/ruby", "/usr/bin/ruby", "-I", out, "read.rb", address, user.ID), all)
	})
	t.Run("PHP", func(t *testing.T) {
		out := protoc(t, contract, "--php_out=OUT")
		text := fmt.Sprintf(`id: %q first_name: %q email_addresses {email_address: %q} created_at {seconds: %d nanos: %d}`,
			user.ID, user.FirstName, user.EmailAddresses[0].EmailAddress, user.CreatedAt.Unix(), user.CreatedAt.Nanosecond())
		encoded := runWith(t, contract, text, "protoc", "--encode=clerkgate.v1.User", "clerkgate/v1/user.proto")
		check(t, runWith(t, "testdata/php", encoded, "php", "-d", "include_path="+phpLib, "read.php", out), own+"private: false\n")
	})
	t.Run("proto-loader", func(t *testing.T) {
		npm(t)
		protos, err := filepath.Abs(contract)
		if err != nil {
			t.Fatal(err)
		}
		check(t, run(t, "testdata/node", "node", "loader.mjs", protos, address, user.ID), all)
	})
	t.Run("TypeScript", func(t *testing.T) {
		modules := npm(t)
		out := protoc(t, contract, "--plugin=protoc-gen-es="+modules+"/.bin/protoc-gen-es", "--es_out=OUT", "--es_opt=target=ts,import_extension=js")
		for _, name := range []string{"package.json", "tsconfig.json", "read.ts"} {
			text, err := os.ReadFile(filepath.Join("testdata/node", name))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(out, name), text, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Symlink(modules, filepath.Join(out, "node_modules")); err != nil {
			t.Fatal(err)
		}
		run(t, out, modules+"/.bin/tsc")
		check(t, run(t, out, "node", "js/read.js", address, user.ID), all)
	})
	t.Run("Java", func(t *testing.T) {
		out := protoc(t, contract, "--java_out=OUT", "--grpc_out=OUT", "--plugin=protoc-gen-grpc=/usr/bin/grpc_java_plugin")
		read, err := filepath.Abs("testdata/java/Read.java")
		if err != nil {
			t.Fatal(err)
		}
		args := append([]string{"-proc:none", "-encoding", "UTF-8", "-d", "classes", "-cp", jars + "/*", read}, find(t, out, ".java")...)
		run(t, out, "javac", args...)
		check(t, run(t, out, "java", "-cp", "classes:"+jars+"/*", "Read", address, user.ID), all)
	})
}

// TestVendored runs the commands of docs/compatibility.md on the contract of a release, and
// reads a user with the code that they generate.
func TestVendored(t *testing.T) {
	page, err := os.ReadFile("../../docs/compatibility.md")
	if err != nil {
		t.Fatal(err)
	}
	commands := regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllSubmatch(page, -1)
	if len(commands) != 2 {
		t.Fatalf("the page has %d blocks of commands, want 2", len(commands))
	}
	bin, err := filepath.Abs("../../bin") // has buf
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	t.Setenv("TARGETS", "")
	dir := t.TempDir()
	run(t, ".", "../release/release", "1.2.3", dir)
	for _, block := range commands {
		run(t, dir, "bash", "-euo", "pipefail", "-c", string(block[1]))
	}
	address, program := serve(t)
	id := strings.TrimSpace(run(t, ".", program, "list", "--address", address, "--limit", "1", "-o", "csv", "--columns", "id"))
	_, id, _ = strings.Cut(id, "\n")
	t.Setenv("PYTHONPATH", dir)
	if got := run(t, "testdata/python", python, "read.py", address, id); !strings.HasPrefix(got, id+"\n") {
		t.Errorf("read.py %s printed %s", id, got)
	}
}

// TestJavaRuntime fails if Debian's runtime is not of protoc's version, for then
// the Java code may not compile.
func TestJavaRuntime(t *testing.T) {
	version := strings.Fields(run(t, ".", "protoc", "--version"))[1]
	jar, err := filepath.EvalSymlinks(jars + "/protobuf.jar")
	if err != nil {
		t.Fatal(err)
	}
	if want := "protobuf-" + version + ".jar"; filepath.Base(jar) != want {
		t.Errorf("the runtime is %s, want %s", filepath.Base(jar), want)
	}
}

// TestOthersCompile checks the syntax of code whose runtime is not to be had from
// Debian (C#), and the types of C++.
func TestOthersCompile(t *testing.T) {
	t.Run("C#", func(t *testing.T) {
		out := protoc(t, contract, "--csharp_out=OUT")
		run(t, out, "mcs", append([]string{"--parse"}, find(t, out, ".cs")...)...)
	})
	t.Run("C++", func(t *testing.T) {
		out := protoc(t, contract, "--cpp_out=OUT")
		run(t, out, "g++", append([]string{"-std=c++17", "-fsyntax-only", "-I", "."}, find(t, out, ".cc")...)...)
	})
	t.Run("Python types", func(t *testing.T) {
		out := protoc(t, contract, "--pyi_out=OUT")
		for _, name := range find(t, out, ".pyi") {
			run(t, out, python, "-c", "import ast, sys; ast.parse(open(sys.argv[1]).read())", name)
		}
	})
}

// TestOptions checks that every file has the options that give its code a place
// in each language.
func TestOptions(t *testing.T) {
	for _, file := range describe(t, contract) {
		set := map[protoreflect.Name]string{}
		file.Options().ProtoReflect().Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
			set[f.Name()] = v.String()
			return true
		})
		for name, want := range map[protoreflect.Name]string{
			"go_package":             "github.com/clerkgate/clerkgate/gen/clerkgate/v1;clerkgatev1",
			"java_multiple_files":    "true",
			"java_package":           "io.github.clerkgate.v1",
			"csharp_namespace":       "Clerkgate.V1",
			"php_namespace":          `Clerkgate\V1`,
			"php_metadata_namespace": `Clerkgate\V1\GPBMetadata`,
			"ruby_package":           "Clerkgate::V1",
			"objc_class_prefix":      "CLG",
		} {
			if set[name] != want {
				t.Errorf("%s: option %s is %q, want %q", file.Path(), name, set[name], want)
			}
		}
		if set["java_outer_classname"] == "" {
			t.Errorf("%s: no option java_outer_classname", file.Path())
		}
	}
}
