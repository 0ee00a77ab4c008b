package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/quarry-hn/quarry/plugin"
	"github.com/quarry-hn/quarry/plugin/abi"
)

// version is set by the linker for a release. Where it is empty, the version is the module's, as Go's build information
// has it.
var version string

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the versions of quarry, of the plugin and of its interface", Args: cobra.NoArgs,
		Example: "  quarry version --json",
		RunE: func(*cobra.Command, []string) error {
			v := version
			if v == "" {
				v = "unversioned"
				if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
					v = info.Main.Version
				}
			}
			return a.summary(map[string]string{"quarry": v, "abi": abi.Version, "plugin_sha256": plugin.SHA256(), "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH},
				func(w io.Writer) error {
					_, err := fmt.Fprintf(w, "quarry %s (%s, %s/%s)\nplugin %s, ABI %s\n", v, runtime.Version(), runtime.GOOS, runtime.GOARCH, plugin.SHA256(), abi.Version)
					return err
				})
		},
	}
}
