// Loads packaging/compose by the Compose specification's own schema and types, says what about it must hold, and prints the
// project as Compose understands it, in JSON.
//
// usage: compose FOLDER
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
)

// What people write into .env.
var secrets = types.Mapping{"OPENCLAW_GATEWAY_TOKEN": "gateway-secret-of-the-check", "OPEN_WEBUI_TOKEN": "token-of-the-check"}

var failures int

func need(holds bool, format string, values ...any) {
	if !holds {
		failures++
		fmt.Fprintf(os.Stderr, "FAIL  "+format+"\n", values...)
	}
}

func load(folder string, environment types.Mapping) (*types.Project, error) {
	return loader.LoadWithContext(context.Background(), types.ConfigDetails{
		WorkingDir:  folder,
		ConfigFiles: []types.ConfigFile{{Filename: filepath.Join(folder, "compose.yaml")}},
		Environment: environment,
	})
}

// Who is in a network reaches its members on every port.
func shared(project *types.Project, one, other string) bool {
	for name := range project.Services[one].Networks {
		if _, both := project.Services[other].Networks[name]; both {
			return true
		}
	}
	return false
}

func main() {
	folder, err := filepath.Abs(os.Args[1])
	need(err == nil, "%v", err)
	_, err = load(folder, types.Mapping{})
	need(err != nil && strings.Contains(err.Error(), "OPENCLAW_GATEWAY_TOKEN"), "without .env it is not refused: %v", err)
	project, err := load(folder, secrets)
	if err != nil {
		fmt.Fprintln(os.Stderr, "FAIL ", err)
		os.Exit(1)
	}
	for _, name := range []string{"gateway", "scopeshim", "open-webui"} {
		_, there := project.Services[name]
		need(there, "no service %s", name)
	}
	need(len(project.Services) == 3, "%d services", len(project.Services))
	need(!shared(project, "open-webui", "gateway"), "open-webui reaches the gateway without scopeshim")
	need(shared(project, "scopeshim", "gateway") && shared(project, "scopeshim", "open-webui"), "scopeshim does not reach both")
	need(len(project.Services["gateway"].Ports) == 0, "the gateway has ports on the host")
	for name, service := range project.Services {
		for _, port := range service.Ports {
			need(port.HostIP == "127.0.0.1", "%s: port %s is open to other machines", name, port.Published)
		}
		for _, volume := range service.Volumes {
			if volume.Type == types.VolumeTypeBind {
				_, err := os.Stat(volume.Source)
				need(err == nil && volume.ReadOnly, "%s: %s is not there, or not read-only", name, volume.Source)
			}
		}
	}
	proxy := project.Services["scopeshim"]
	need(proxy.ReadOnly && len(proxy.CapDrop) == 1 && proxy.CapDrop[0] == "ALL", "scopeshim is not confined")
	text, err := project.MarshalJSON()
	need(err == nil, "%v", err)
	fmt.Println(string(text))
	if failures > 0 {
		os.Exit(1)
	}
}
