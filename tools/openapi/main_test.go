package main

import (
	"strings"
	"testing"
)

func TestRun(t *testing.T) {
	const description = `
components:
  schemas:
    Unused: {type: object, properties: {a: {type: string}}}
    User:
      type: object
      required: [id, addresses]
      properties:
        id: {type: string}
        kind: {type: string, enum: [a, b]}
        addresses: {type: array, items: {$ref: '#/components/schemas/Address'}}
        tags: {type: array, items: {type: string}}
        metadata: {type: object, additionalProperties: true, nullable: true}
        proof:
          type: object
          nullable: true
          oneOf: [{$ref: '#/components/schemas/Code'}, {$ref: '#/components/schemas/Address'}]
        scim: {allOf: [{$ref: '#/components/schemas/Code'}]}
    Address: {type: object, properties: {parent: {$ref: '#/components/schemas/Address'}}}
    Code: {type: object, required: [n], properties: {n: {type: integer, nullable: true}}}
`
	want := strings.Join([]string{
		"User\taddresses\t[]Address\trequired\t-",
		"User\tid\tstring\trequired\t-",
		"User\tkind\t\"a\"|\"b\"\toptional\t-",
		"User\tmetadata\tobject\toptional\tnullable",
		"User\tproof\tCode|Address\toptional\tnullable",
		"User\tscim\tCode\toptional\t-",
		"User\ttags\t[]string\toptional\t-",
		"Address\tparent\tAddress\toptional\t-",
		"Code\tn\tinteger\trequired\tnullable",
		"",
	}, "\n")
	var got strings.Builder
	if err := run("User", strings.NewReader(description), &got); err != nil {
		t.Fatal(err)
	}
	if got.String() != want {
		t.Errorf("got\n%s\nwant\n%s", got.String(), want)
	}
}

func TestRunRefuses(t *testing.T) {
	for name, fields := range map[string]string{
		"a schema that is not there":     `{a: {$ref: '#/components/schemas/Missing'}}`,
		"no type":                        `{a: {}}`,
		"an alternative without a name":  `{a: {oneOf: [{type: string}]}}`,
		"an object with its own fields":  `{a: {type: object, properties: {b: {type: string}}}}`,
		"no fields":                      `{}`,
		"several schemas put together":   `{a: {allOf: [{$ref: '#/S'}, {$ref: '#/T'}]}}`,
		"a list of what has no own type": `{a: {type: array}}`,
	} {
		t.Run(name, func(t *testing.T) {
			description := "components: {schemas: {S: {properties: " + fields + "}}}"
			if err := run("S", strings.NewReader(description), &strings.Builder{}); err == nil {
				t.Error("no error")
			}
		})
	}
}
