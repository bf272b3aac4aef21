package main

import (
	"os"
	"path/filepath"
	"slices"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
)

// What must hold of the objects together. Leaves scopeshim's configuration in the folder `out`.
func (b *built) judge(out string) {
	pod, selector := b.pod()
	if pod == nil || len(b.services) == 0 {
		need(false, "%s: something is missing", b.name)
		return
	}
	containers := slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers)
	at := slices.IndexFunc(containers, func(c core.Container) bool { return c.Name == "scopeshim" })
	if at < 0 {
		need(false, "%s: no scopeshim in the pod", b.name)
		return
	}
	shim := containers[at]
	if len(b.sets) > 0 {
		always := shim.RestartPolicy != nil && *shim.RestartPolicy == core.ContainerRestartPolicyAlways
		need(at < len(pod.Spec.InitContainers) && always, "%s: no native sidecar", b.name)
	}
	ports := b.probed(shim)
	safe := shim.SecurityContext
	need(*safe.ReadOnlyRootFilesystem && !*safe.AllowPrivilegeEscalation && *safe.RunAsUser > 0, "%s: scopeshim's rights", b.name)
	need(*pod.Spec.SecurityContext.RunAsNonRoot && slices.Contains(safe.Capabilities.Drop, "ALL"), "%s: the pod's rights", b.name)
	b.mounted(pod, containers, out)
	// Selectors select this pod, and nothing leads to the gateway's own port.
	b.selected("workload", selector, pod.Labels)
	for _, service := range b.services {
		b.selected("Service "+service.Name, service.Spec.Selector, pod.Labels)
		for _, port := range service.Spec.Ports {
			need(ports[port.TargetPort.StrVal] != 0, "%s: the Service %s leads to %s", b.name, service.Name, port.TargetPort.String())
		}
	}
	need(b.services[0].Spec.Ports[0].TargetPort.StrVal == "api", "%s: clients are led to %s", b.name, b.services[0].Spec.Ports[0].TargetPort.String())
	b.closed(pod.Labels, ports)
	b.around(pod.Labels)
}

// The pod's template, and the selector of what makes such pods.
func (b *built) pod() (*core.PodTemplateSpec, map[string]string) {
	switch {
	case len(b.sets) == 1 && b.deployment == nil:
		return &b.sets[0].Spec.Template, b.sets[0].Spec.Selector.MatchLabels
	case len(b.sets) == 0 && b.deployment != nil:
		return &b.deployment.Spec.Template, b.deployment.Spec.Selector.MatchLabels
	}
	return nil, nil
}

func (b *built) selected(what string, selector, labels map[string]string) {
	need(len(selector) > 0, "%s: the %s selects everything", b.name, what)
	for key, value := range selector {
		need(labels[key] == value, "%s: the %s does not select the pod", b.name, what)
	}
}

// scopeshim's ports by name; each probe asks one of them.
func (b *built) probed(shim core.Container) map[string]int32 {
	ports := map[string]int32{}
	for _, port := range shim.Ports {
		ports[port.Name] = port.ContainerPort
	}
	need(ports["api"] == 18780 && ports["watch"] == 18781, "%s: ports %v", b.name, ports)
	for what, probe := range map[string]*core.Probe{"startup": shim.StartupProbe, "liveness": shim.LivenessProbe, "readiness": shim.ReadinessProbe} {
		ok := probe != nil && probe.HTTPGet != nil && ports[probe.HTTPGet.Port.StrVal] != 0
		need(ok, "%s: the %s probe", b.name, what)
		if ok && what != "readiness" {
			need(probe.HTTPGet.Port.StrVal == "watch", "%s: the %s probe depends on the gateway", b.name, what)
		}
	}
	return ports
}

func (b *built) mounted(pod *core.PodTemplateSpec, containers []core.Container, out string) {
	volumes := map[string]core.Volume{}
	for _, volume := range pod.Spec.Volumes {
		volumes[volume.Name] = volume
		if claim := volume.PersistentVolumeClaim; claim != nil {
			need(b.claims[claim.ClaimName] != nil, "%s: no claim %s", b.name, claim.ClaimName)
			one := b.deployment != nil && *b.deployment.Spec.Replicas <= 1 && b.deployment.Spec.Strategy.Type == apps.RecreateDeploymentStrategyType
			need(one, "%s: two pods at a time want the volume %s", b.name, claim.ClaimName)
		}
	}
	if len(b.sets) > 0 {
		for _, claim := range b.sets[0].Spec.VolumeClaimTemplates {
			volumes[claim.Name] = core.Volume{Name: claim.Name}
		}
	}
	policy := ""
	for _, container := range containers {
		for _, mount := range container.VolumeMounts {
			volume, there := volumes[mount.Name]
			need(there, "%s: %s mounts %s, which is not there", b.name, container.Name, mount.Name)
			if volume.ConfigMap != nil {
				need(mount.SubPath == "", "%s: %s never sees a change of %s", b.name, container.Name, mount.Name)
				held := b.maps[volume.ConfigMap.Name]
				need(held != nil, "%s: no ConfigMap %s", b.name, volume.ConfigMap.Name)
				if held != nil && mount.MountPath == "/etc/scopeshim/config" {
					policy = held.Data["config.toml"]
				}
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
	need(policy != "", "%s: no configuration is mounted", b.name)
	if err := os.WriteFile(filepath.Join(out, b.name+".toml"), []byte(policy), 0o600); err != nil {
		need(false, "%v", err)
	}
}

// The first policy is scopeshim's own. A second one leaves the gateway's port to scopeshim alone.
func (b *built) closed(labels map[string]string, ports map[string]int32) {
	if len(b.policies) == 0 {
		need(false, "%s: no NetworkPolicy", b.name)
		return
	}
	b.selected("NetworkPolicy", b.policies[0].Spec.PodSelector.MatchLabels, labels)
	for _, policy := range b.policies {
		need(slices.Contains(policy.Spec.PolicyTypes, networking.PolicyTypeIngress), "%s: the NetworkPolicy %s closes nothing", b.name, policy.Name)
		for _, rule := range policy.Spec.Ingress {
			need(len(rule.Ports) > 0, "%s: the NetworkPolicy %s opens every port", b.name, policy.Name)
			need(len(rule.From) > 0, "%s: the NetworkPolicy %s lets everybody in", b.name, policy.Name)
		}
	}
	for _, rule := range b.policies[0].Spec.Ingress {
		for _, port := range rule.Ports {
			need(port.Port != nil && ports[port.Port.StrVal] != 0, "%s: the NetworkPolicy opens %v", b.name, port.Port)
		}
	}
	for _, policy := range b.policies[1:] {
		need(len(policy.Spec.PodSelector.MatchLabels) > 0, "%s: %s selects every pod", b.name, policy.Name)
		for _, rule := range policy.Spec.Ingress {
			for _, peer := range rule.From {
				need(peer.PodSelector != nil && peer.IPBlock == nil, "%s: %s lets others in than scopeshim", b.name, policy.Name)
				b.selected(policy.Name, peer.PodSelector.MatchLabels, labels)
			}
			for _, port := range rule.Ports {
				need(port.Port.IntVal == 18789, "%s: %s is about port %v", b.name, policy.Name, port.Port)
			}
		}
	}
}

// What stands around the pod: monitors, ways in, and what scales it.
func (b *built) around(labels map[string]string) {
	if b.monitor != nil {
		b.selected("PodMonitor", b.monitor.Spec.Selector.MatchLabels, labels)
		for _, end := range b.monitor.Spec.PodMetricsEndpoints {
			need(end.Port != nil && *end.Port == "watch" && end.Path == "/metrics", "%s: the PodMonitor asks elsewhere", b.name)
		}
	}
	if b.watched != nil {
		at := slices.IndexFunc(b.services, func(s *core.Service) bool {
			for key, value := range b.watched.Spec.Selector.MatchLabels {
				if s.Labels[key] != value {
					return false
				}
			}
			return len(s.Spec.Ports) == 1 && s.Spec.Ports[0].Name == "watch"
		})
		need(at >= 0, "%s: the ServiceMonitor finds no Service with metrics", b.name)
		for _, end := range b.watched.Spec.Endpoints {
			need(end.Port == "watch" && end.Path == "/metrics", "%s: the ServiceMonitor asks elsewhere", b.name)
		}
	}
	clients := b.services[0]
	if b.ingress != nil {
		for _, rule := range b.ingress.Spec.Rules {
			for _, path := range rule.HTTP.Paths {
				to := path.Backend.Service
				need(to.Name == clients.Name && to.Port.Name == "api", "%s: the Ingress leads to %s:%s", b.name, to.Name, to.Port.Name)
			}
		}
	}
	if b.route != nil {
		for _, rule := range b.route.Spec.Rules {
			need(len(rule.BackendRefs) == 1, "%s: the HTTPRoute leads to %d Services", b.name, len(rule.BackendRefs))
			for _, to := range rule.BackendRefs {
				need(string(to.Name) == clients.Name && int32(*to.Port) == clients.Spec.Ports[0].Port, "%s: the HTTPRoute leads to %s", b.name, to.Name)
			}
			need(rule.Timeouts != nil && *rule.Timeouts.Request == "0s", "%s: the HTTPRoute ends streams", b.name)
		}
	}
	if b.scaler != nil {
		to := b.scaler.Spec.ScaleTargetRef
		need(b.deployment != nil && to.Kind == "Deployment" && to.Name == b.deployment.Name, "%s: the autoscaler scales %s", b.name, to.Name)
		need(b.deployment == nil || b.deployment.Spec.Replicas == nil, "%s: an upgrade undoes what the autoscaler did", b.name)
	}
	if b.budget != nil {
		b.selected("PodDisruptionBudget", b.budget.Spec.Selector.MatchLabels, labels)
	}
}
