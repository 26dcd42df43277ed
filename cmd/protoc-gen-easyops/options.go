package main

import (
	"errors"
	"fmt"
	"go/token"
	"path"
	"strings"
	"unicode"

	"google.golang.org/protobuf/compiler/protogen"
)

const knownOptions = "The options of the plugin are package=IMPORT_PATH, paths=import, " +
	"paths=source_relative, module=PREFIX and Mfile.proto=IMPORT_PATH."

// options are those of the plugin that protogen does not handle by itself.
type options struct {
	target         protogen.GoImportPath // of package=, else empty
	targetName     protogen.GoPackageName
	sourceRelative bool
	module         string // the prefix of import paths that module= cuts off; empty without it
}

// parseOptions reads the parameter of a request. protogen reads it as well, but
// passes over what it does not know.
func parseOptions(parameter string) (options, error) {
	var opts options
	var errs []error
	given := map[string]string{}
	for option := range strings.SplitSeq(parameter, ",") {
		name, value, _ := strings.Cut(option, "=")
		other, twice := given[name]
		given[name] = option
		switch {
		case unreadable(option):
			errs = append(errs, fmt.Errorf("plugin option %q holds %s", option, hidden))
		case option == "", strings.HasPrefix(name, "M"):
		case twice && (name == "module" || name == "paths" || name == "package"):
			errs = append(errs, fmt.Errorf("plugin options %s and %s: leave one of them out", other, option))
		case name == "module":
			opts.module = value
		case name == "paths":
			opts.sourceRelative = value == "source_relative"
		case name == "package":
			errs = append(errs, opts.setTarget(value))
		default:
			errs = append(errs, fmt.Errorf("unknown plugin option %q. %s", option, knownOptions))
		}
	}
	return opts, errors.Join(errs...)
}

// setTarget takes the value of package=. As in a go_package option, a name may
// follow a semicolon.
func (o *options) setTarget(value string) error {
	importPath, name, named := strings.Cut(value, ";")
	if err := checkImportPath(importPath); err != nil {
		return fmt.Errorf("plugin option package=%s: %w", value, err)
	}
	if !named {
		name = packageName(importPath)
	}
	if !isPackageName(name) {
		return fmt.Errorf("plugin option package=%s: %q is not the name of a Go package", value, name)
	}
	o.target, o.targetName = protogen.GoImportPath(importPath), protogen.GoPackageName(name)
	return nil
}

// filename is the path of the file that is emitted for f.
func (o *options) filename(f *protogen.File) string {
	prefix := f.GeneratedFilenamePrefix
	if o.target != "" && !o.sourceRelative {
		prefix = path.Join(string(o.target), path.Base(prefix))
	}
	return prefix + "_easyops.pb.go"
}

// importer is the import path of the package into which the code for f goes, as
// far as it is known. With paths=source_relative there is one a directory.
func (o *options) importer(f *protogen.File) string {
	if o.sourceRelative {
		return path.Join(string(o.target), path.Dir(o.filename(f)))
	}
	return string(o.target)
}

// packageOf is the Go package into which the code for f goes.
func (o *options) packageOf(f *protogen.File) (protogen.GoImportPath, protogen.GoPackageName) {
	if o.target != "" {
		return o.target, o.targetName
	}
	return f.GoImportPath, f.GoPackageName
}

// packageName derives the name of a package from its import path, by the rules
// that protogen has for go_package.
func packageName(importPath string) string {
	name := strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return r
		}
		return '_'
	}, path.Base(importPath))
	if token.IsKeyword(name) || !unicode.IsLetter([]rune(name)[0]) {
		return "_" + name
	}
	return name
}

func isPackageName(name string) bool { return token.IsIdentifier(name) && name != "_" }
