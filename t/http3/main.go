// A proxy that speaks HTTP/1.1 on one port and HTTP/3 to another, both of
// 127.0.0.1, so that the tests' own client can be used with HTTP/3.  Bodies
// are streamed both ways; nothing is verified.

package main

import (
	"crypto/tls"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"

	"github.com/quic-go/quic-go/http3"
)

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: proxy PORT UDP-PORT")
	}

	server := &url.URL{Scheme: "https", Host: "127.0.0.1:" + os.Args[2]}

	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(server)
		},
		Transport: &http3.Transport{
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		},
		FlushInterval: -1,

		// a client that goes away is a part of a test
		ErrorLog: log.New(io.Discard, "", 0),
	}

	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Args[1], proxy))
}
