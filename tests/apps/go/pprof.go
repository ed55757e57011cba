//go:build !nopprof

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"expvar"
	"flag"
	"log"
	"math/big"
	"net"
	"net/http"
	_ "net/http/pprof"
	"runtime/pprof"
	"strings"
	"time"
)

var (
	pprofAddr     = flag.String("pprof", "", "serve net/http/pprof on this address, or on unix:PATH")
	pprofTLS      = flag.Bool("tls", false, "serve it over https with a certificate made at start-up")
	pprofIdentity = flag.String("certificate", "", "with -tls: a file with the certificate and its key to show instead")
	pprofMutual   = flag.Bool("mtls", false, "with -tls: to those alone who show a certificate, too")
	pprofPrefix   = flag.String("prefix", "", "serve it below this path, such as /admin")
	pprofToken    = flag.String("token", "", "serve it to those alone who send this bearer token")
	pprofRedirect = flag.String("redirect", "", "send everybody to this place instead")
)

// A profile of the program's own: two carts are open.
var carts = pprof.NewProfile("shop.carts")

// The same as a number at /debug/vars, whatever else is served there.
var openCarts = expvar.NewInt("shop.carts.open")

func startPprof() {
	if *pprofAddr == "" {
		return
	}
	for cart := range 2 {
		carts.Add(cart, 0)
		openCarts.Add(1)
	}
	network, address := "tcp", *pprofAddr
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		network, address = "unix", path
	}
	listener := listen("pprof", network, address)
	if *pprofTLS {
		config := &tls.Config{Certificates: []tls.Certificate{certificate()}}
		if *pprofMutual {
			config.ClientAuth = tls.RequireAnyClientCert
		}
		listener = tls.NewListener(listener, config)
	}
	handler := guard(http.StripPrefix(*pprofPrefix, http.DefaultServeMux))
	go func() { log.Fatal(http.Serve(listener, handler)) }()
}

func guard(handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case *pprofRedirect != "":
			http.Redirect(w, r, *pprofRedirect, http.StatusFound)
		case *pprofToken != "" && r.Header.Get("Authorization") != "Bearer "+*pprofToken:
			http.Error(w, "who are you?", http.StatusUnauthorized)
		default:
			handler.ServeHTTP(w, r)
		}
	})
}

func certificate() tls.Certificate {
	if *pprofIdentity != "" {
		pair, err := tls.LoadX509KeyPair(*pprofIdentity, *pprofIdentity)
		if err != nil {
			log.Fatal(err)
		}
		return pair
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	template := x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotAfter:     time.Now().AddDate(1, 0, 0),
		DNSNames:     []string{"localhost"},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		log.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
