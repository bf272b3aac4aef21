// Control is a Tailscale control server and a DERP relay on one address, for tests: the control
// server of Tailscale's own integration tests, with a few switches over HTTP.
//
//	PUT /test/caps                 app capabilities of every node towards every node, as JSON
//	PUT /test/tags/{hostname}      the tags of a node, as JSON
//	GET /test/nodes                hostname, addresses, tags and login of each node
package main

import (
	"context"
	"encoding/json"
	"flag"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"

	"tailscale.com/derp/derpserver"
	"tailscale.com/net/stunserver"
	"tailscale.com/tailcfg"
	"tailscale.com/tstest/integration/testcontrol"
	"tailscale.com/types/key"
	"tailscale.com/types/logger"
)

func main() {
	ip := flag.String("ip", "127.0.0.1", "the address of everything")
	port := flag.String("port", "0", "the control server's port")
	flag.Parse()

	control := &testcontrol.Server{
		Logf:            logger.Discard,
		DERPMap:         relay(*ip),
		MagicDNSDomain:  "tailnet.test",
		DNSConfig:       &tailcfg.DNSConfig{Proxied: true},
		TagOwners:       map[string][]string{"tag:bot": nil},
		ExplicitBaseURL: "http://" + net.JoinHostPort(*ip, *port),
		AllOnline:       true,
	}
	mux := http.NewServeMux()
	mux.Handle("/", control)
	mux.HandleFunc("PUT /test/caps", func(w http.ResponseWriter, r *http.Request) {
		var caps tailcfg.PeerCapMap
		if read(w, r, &caps) {
			control.SetGlobalAppCaps(caps)
			push(control)
		}
	})
	mux.HandleFunc("PUT /test/tags/{hostname}", func(w http.ResponseWriter, r *http.Request) {
		var tags []string
		if !read(w, r, &tags) {
			return
		}
		for _, node := range control.AllNodes() {
			if node.Hostinfo.Hostname() == r.PathValue("hostname") {
				node.Tags = tags
				control.UpdateNode(node)
			}
		}
	})
	mux.HandleFunc("GET /test/nodes", func(w http.ResponseWriter, r *http.Request) {
		type seen struct {
			Addresses []netip.Prefix
			Tags      []string
			User      tailcfg.UserID
		}
		nodes := map[string]seen{}
		for _, node := range control.AllNodes() {
			nodes[node.Hostinfo.Hostname()] = seen{node.Addresses, node.Tags, node.User}
		}
		json.NewEncoder(w).Encode(nodes)
	})
	log.Fatal(http.ListenAndServe(net.JoinHostPort(*ip, *port), mux))
}

// read reads a request's JSON body, or answers that it is none.
func read(w http.ResponseWriter, r *http.Request, into any) bool {
	if err := json.NewDecoder(r.Body).Decode(into); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return false
	}
	return true
}

// push sends every node a new map.
func push(control *testcontrol.Server) {
	for _, node := range control.AllNodes() {
		control.UpdateNode(node)
	}
}

// relay starts a DERP and a STUN server, and returns the map that leads to them and nowhere else.
func relay(ip string) *tailcfg.DERPMap {
	derp := derpserver.New(key.NewNode(), logger.Discard)
	listener, err := net.Listen("tcp", net.JoinHostPort(ip, "0"))
	if err != nil {
		log.Fatal(err)
	}
	server := httptest.NewUnstartedServer(derpserver.Handler(derp))
	server.Listener.Close()
	server.Listener = listener
	server.Config.ErrorLog = log.New(discard{}, "", 0)
	server.StartTLS()

	stun := stunserver.New(context.Background())
	if err := stun.Listen(net.JoinHostPort(ip, "0")); err != nil {
		log.Fatal(err)
	}
	go stun.Serve()

	return &tailcfg.DERPMap{Regions: map[int]*tailcfg.DERPRegion{1: {
		RegionID:   1,
		RegionCode: "test",
		Nodes: []*tailcfg.DERPNode{{
			Name:             "1",
			RegionID:         1,
			HostName:         ip,
			IPv4:             ip,
			IPv6:             "none",
			STUNPort:         stun.LocalAddr().(*net.UDPAddr).Port,
			DERPPort:         listener.Addr().(*net.TCPAddr).Port,
			InsecureForTests: true,
			STUNTestIP:       ip,
		}},
	}}}
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }
