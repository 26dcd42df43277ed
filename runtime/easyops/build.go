package easyops

import "runtime/debug"

// modulePath is the module that the runtime is part of.
const modulePath = "github.com/go-easyops/easyops"

// buildVersion returns the version of the program.
func buildVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.Main.Version
	}
	return ""
}

// runtimeVersion returns the version of this module in the program.
func runtimeVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	if info.Main.Path == modulePath {
		return info.Main.Version
	}
	for _, dep := range info.Deps {
		if dep.Path == modulePath {
			return dep.Version
		}
	}
	return ""
}
