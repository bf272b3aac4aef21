// Builds the Kustomize manifests, decodes every object strictly by the Go types of its API, and says
// what about them must hold. Leaves scopeshim's configurations in OUTPUT for `scopeshim check`.
//
// usage: kubernetes MANIFESTS OUTPUT
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

var failures int

func need(holds bool, format string, values ...any) {
	if !holds {
		failures++
		fmt.Fprintf(os.Stderr, "FAIL  "+format+"\n", values...)
	}
}

// What a kustomization came to.
type built struct {
	name    string
	sets    []*apps.StatefulSet
	service *core.Service
	policy  *networking.NetworkPolicy
	maps    map[string]*core.ConfigMap
	monitor *monitoring.PodMonitor
}

func build(folder, name string) built {
	all := built{name: name, maps: map[string]*core.ConfigMap{}}
	objects, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), filepath.Join(folder, name))
	if err != nil {
		need(false, "%s: %v", name, err)
		return all
	}
	for _, object := range objects.Resources() {
		text, err := object.AsYAML()
		need(err == nil, "%s: %v", name, err)
		need(len(validation.IsDNS1123Subdomain(object.GetName())) == 0, "%s: the name %q", name, object.GetName())
		var into any
		switch kind := object.GetKind(); kind {
		case "StatefulSet":
			set := &apps.StatefulSet{}
			all.sets, into = append(all.sets, set), set
		case "Service":
			all.service = &core.Service{}
			into = all.service
		case "NetworkPolicy":
			all.policy = &networking.NetworkPolicy{}
			into = all.policy
		case "PodMonitor":
			all.monitor = &monitoring.PodMonitor{}
			into = all.monitor
		case "ConfigMap":
			one := &core.ConfigMap{}
			all.maps[object.GetName()], into = one, one
		default:
			need(false, "%s: a %s that nothing here knows", name, kind)
			continue
		}
		if err := yaml.UnmarshalStrict(text, into); err != nil {
			need(false, "%s: %s %s: %v", name, object.GetKind(), object.GetName(), err)
		}
	}
	fmt.Printf("ok    %s: %d objects, every field known to its API\n", name, objects.Size())
	return all
}

func (b built) judge() {
	if len(b.sets) != 1 || b.service == nil || b.policy == nil || b.maps["scopeshim"] == nil {
		need(false, "%s: something is missing", b.name)
		return
	}
	pod := b.sets[0].Spec.Template
	labels := pod.Labels
	at := slices.IndexFunc(pod.Spec.InitContainers, func(c core.Container) bool { return c.Name == "scopeshim" })
	if at < 0 {
		need(false, "%s: no scopeshim among the init containers", b.name)
		return
	}
	shim := pod.Spec.InitContainers[at]
	need(shim.RestartPolicy != nil && *shim.RestartPolicy == core.ContainerRestartPolicyAlways, "%s: no native sidecar", b.name)
	ports := map[string]int32{}
	for _, port := range shim.Ports {
		ports[port.Name] = port.ContainerPort
	}
	need(ports["api"] == 18780 && ports["watch"] == 18781, "%s: ports %v", b.name, ports)
	for what, probe := range map[string]*core.Probe{"startup": shim.StartupProbe, "liveness": shim.LivenessProbe, "readiness": shim.ReadinessProbe} {
		ok := probe != nil && probe.HTTPGet != nil && ports[probe.HTTPGet.Port.StrVal] != 0
		need(ok, "%s: the %s probe", b.name, what)
		if ok && what != "readiness" {
			need(probe.HTTPGet.Port.StrVal == "watch", "%s: the %s probe waits for the gateway, which waits for it", b.name, what)
		}
	}
	safe := shim.SecurityContext
	need(*safe.ReadOnlyRootFilesystem && !*safe.AllowPrivilegeEscalation && *safe.RunAsUser > 0, "%s: scopeshim's rights", b.name)
	need(*pod.Spec.SecurityContext.RunAsNonRoot && slices.Contains(safe.Capabilities.Drop, "ALL"), "%s: the pod's rights", b.name)
	volumes := map[string]core.Volume{}
	for _, volume := range pod.Spec.Volumes {
		volumes[volume.Name] = volume
	}
	for _, claim := range b.sets[0].Spec.VolumeClaimTemplates {
		volumes[claim.Name] = core.Volume{Name: claim.Name}
	}
	for _, container := range append(slices.Clone(pod.Spec.Containers), pod.Spec.InitContainers...) {
		for _, mount := range container.VolumeMounts {
			volume, there := volumes[mount.Name]
			need(there, "%s: %s mounts %s, which is not there", b.name, container.Name, mount.Name)
			if volume.ConfigMap != nil {
				need(mount.SubPath == "", "%s: %s never sees a change of %s", b.name, container.Name, mount.Name)
				need(b.maps[volume.ConfigMap.Name] != nil, "%s: no ConfigMap %s", b.name, volume.ConfigMap.Name)
			}
			if volume.Secret != nil {
				mode := volume.Secret.DefaultMode
				need(mode != nil && *mode&0o007 == 0, "%s: the secret %s can be read by everybody", b.name, mount.Name)
			}
		}
		for _, port := range container.Ports {
			need(port.ContainerPort != 18789, "%s: %s shows the gateway's own port", b.name, container.Name)
		}
	}
	// Selectors select this pod, and nothing leads to the gateway's own port.
	selected := func(what string, selector map[string]string) {
		need(len(selector) > 0, "%s: the %s selects everything", b.name, what)
		for key, value := range selector {
			need(labels[key] == value, "%s: the %s does not select the pod", b.name, what)
		}
	}
	selected("StatefulSet", b.sets[0].Spec.Selector.MatchLabels)
	selected("Service", b.service.Spec.Selector)
	selected("NetworkPolicy", b.policy.Spec.PodSelector.MatchLabels)
	for _, port := range b.service.Spec.Ports {
		need(port.TargetPort.StrVal == "api", "%s: the Service leads to %s", b.name, port.TargetPort.String())
	}
	need(slices.Contains(b.policy.Spec.PolicyTypes, networking.PolicyTypeIngress), "%s: the NetworkPolicy closes nothing", b.name)
	for _, rule := range b.policy.Spec.Ingress {
		need(len(rule.Ports) > 0, "%s: the NetworkPolicy opens every port", b.name)
		for _, port := range rule.Ports {
			need(port.Port != nil && ports[port.Port.StrVal] != 0, "%s: the NetworkPolicy opens %v", b.name, port.Port)
		}
	}
	if b.monitor != nil {
		selected("PodMonitor", b.monitor.Spec.Selector.MatchLabels)
		for _, end := range b.monitor.Spec.PodMetricsEndpoints {
			need(end.Port != nil && *end.Port == "watch" && end.Path == "/metrics", "%s: the PodMonitor asks elsewhere", b.name)
		}
	}
	if err := os.WriteFile(filepath.Join(os.Args[2], b.name+".toml"), []byte(b.maps["scopeshim"].Data["config.toml"]), 0o600); err != nil {
		need(false, "%v", err)
	}
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: kubernetes MANIFESTS OUTPUT")
		os.Exit(64)
	}
	for _, name := range []string{"base", "example"} {
		all := build(os.Args[1], name)
		all.judge()
		need(name != "example" || all.monitor != nil, "the example has no PodMonitor")
	}
	if failures > 0 {
		fmt.Printf("%d failed\n", failures)
		os.Exit(1)
	}
}
