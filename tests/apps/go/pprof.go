//go:build !nopprof

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"log"
	"math/big"
	"net"
	"net/http"
	_ "net/http/pprof"
	"time"
)

var (
	pprofAddr   = flag.String("pprof", "", "serve net/http/pprof on this address")
	pprofTLS    = flag.Bool("tls", false, "serve it over https with a certificate made at start-up")
	pprofPrefix = flag.String("prefix", "", "serve it below this path, such as /admin")
)

func startPprof() {
	if *pprofAddr == "" {
		return
	}
	listener := listen("pprof", *pprofAddr)
	if *pprofTLS {
		listener = tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{certificate()}})
	}
	handler := http.StripPrefix(*pprofPrefix, http.DefaultServeMux)
	go func() { log.Fatal(http.Serve(listener, handler)) }()
}

func certificate() tls.Certificate {
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
