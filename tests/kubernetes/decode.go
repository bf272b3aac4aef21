package main

import (
	"fmt"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	apps "k8s.io/api/apps/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	disruption "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	gateway "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"
)

// What a kustomization, or a chart with some values, came to.
type built struct {
	name       string
	objects    int
	sets       []*apps.StatefulSet
	deployment *apps.Deployment
	services   []*core.Service
	policies   []*networking.NetworkPolicy
	maps       map[string]*core.ConfigMap
	claims     map[string]*core.PersistentVolumeClaim
	monitor    *monitoring.PodMonitor
	watched    *monitoring.ServiceMonitor
	ingress    *networking.Ingress
	route      *gateway.HTTPRoute
	scaler     *autoscaling.HorizontalPodAutoscaler
	budget     *disruption.PodDisruptionBudget
}

func nothing(name string) built {
	return built{name: name, maps: map[string]*core.ConfigMap{}, claims: map[string]*core.PersistentVolumeClaim{}}
}

// The type of the API that an object is of, and its place among the rest.
func (b *built) place(apiVersion, kind, name string) any {
	switch apiVersion + " " + kind {
	case "apps/v1 StatefulSet":
		b.sets = append(b.sets, &apps.StatefulSet{})
		return b.sets[len(b.sets)-1]
	case "apps/v1 Deployment":
		b.deployment = &apps.Deployment{}
		return b.deployment
	case "v1 Service":
		b.services = append(b.services, &core.Service{})
		return b.services[len(b.services)-1]
	case "v1 ConfigMap":
		b.maps[name] = &core.ConfigMap{}
		return b.maps[name]
	case "v1 PersistentVolumeClaim":
		b.claims[name] = &core.PersistentVolumeClaim{}
		return b.claims[name]
	case "networking.k8s.io/v1 NetworkPolicy":
		b.policies = append(b.policies, &networking.NetworkPolicy{})
		return b.policies[len(b.policies)-1]
	case "networking.k8s.io/v1 Ingress":
		b.ingress = &networking.Ingress{}
		return b.ingress
	case "gateway.networking.k8s.io/v1 HTTPRoute":
		b.route = &gateway.HTTPRoute{}
		return b.route
	case "autoscaling/v2 HorizontalPodAutoscaler":
		b.scaler = &autoscaling.HorizontalPodAutoscaler{}
		return b.scaler
	case "policy/v1 PodDisruptionBudget":
		b.budget = &disruption.PodDisruptionBudget{}
		return b.budget
	case "monitoring.coreos.com/v1 PodMonitor":
		b.monitor = &monitoring.PodMonitor{}
		return b.monitor
	case "monitoring.coreos.com/v1 ServiceMonitor":
		b.watched = &monitoring.ServiceMonitor{}
		return b.watched
	}
	return nil
}

// Decodes an object; a field that its API does not know is a failure.
func (b *built) add(text []byte) {
	var head struct {
		APIVersion string
		Kind       string
		Metadata   struct{ Name string }
	}
	if err := yaml.Unmarshal(text, &head); err != nil {
		need(false, "%s: %v", b.name, err)
		return
	}
	name := head.Metadata.Name
	need(len(validation.IsDNS1123Subdomain(name)) == 0, "%s: the name %q", b.name, name)
	into := b.place(head.APIVersion, head.Kind, name)
	if into == nil {
		need(false, "%s: a %s of %s that nothing here knows", b.name, head.Kind, head.APIVersion)
		return
	}
	if err := yaml.UnmarshalStrict(text, into); err != nil {
		need(false, "%s: %s %s: %v", b.name, head.Kind, name, err)
	}
	b.objects++
}

func (b *built) told() {
	fmt.Printf("ok    %s: %d objects, every field known to its API\n", b.name, b.objects)
}
