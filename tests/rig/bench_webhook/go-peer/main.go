// Go-peer is the yardstick of `make bench`: an injector on controller-runtime's admission server that adds what
// sideflame-webhook adds, the way Go injectors do: decode into typed structs, change them, marshal, diff with the
// original.
//
//	go-peer -listen 127.0.0.1:8443 -cert tls.crt -key tls.key
package main

import (
	"context"
	"encoding/json"
	"flag"
	"log"
	"net"
	"net/http"
	"path/filepath"
	"strconv"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/runtime"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

func main() {
	listen := flag.String("listen", "", "address")
	cert := flag.String("cert", "", "PEM file")
	key := flag.String("key", "", "PEM file, in the same directory")
	flag.Parse()
	host, port, err := net.SplitHostPort(*listen)
	if err != nil {
		log.Fatalf("-listen: %v", err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		log.Fatalf("-listen: %v", err)
	}
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		log.Fatal(err)
	}
	// In its favour: it logs nothing.
	ctrllog.SetLogger(logr.Discard())
	server := webhook.NewServer(webhook.Options{
		Host: host, Port: number,
		CertDir: filepath.Dir(*cert), CertName: filepath.Base(*cert), KeyName: filepath.Base(*key),
	})
	server.Register("/inject", &admission.Webhook{Handler: &injector{decoder: admission.NewDecoder(scheme)}})
	log.Fatal(server.Start(context.Background()))
}

type injector struct {
	decoder admission.Decoder
}

// Handle answers one review.
func (i *injector) Handle(_ context.Context, req admission.Request) admission.Response {
	pod := &corev1.Pod{}
	if err := i.decoder.Decode(req, pod); err != nil {
		return admission.Errored(http.StatusBadRequest, err)
	}
	if pod.Annotations["sideflame.io/inject"] != "true" {
		return admission.Allowed("not annotated")
	}
	inject(pod)
	changed, err := json.Marshal(pod)
	if err != nil {
		return admission.Errored(http.StatusInternalServerError, err)
	}
	return admission.PatchResponseFromRaw(req.Object.Raw, changed)
}

func inject(pod *corev1.Pod) {
	pod.Annotations["sideflame.io/status"] = `{"version":"0.1.0","container":"shop","rights":"same-user","warnings":[]}`
	if pod.Labels == nil {
		pod.Labels = map[string]string{}
	}
	pod.Labels["sideflame.io/injected"] = "true"
	pod.Labels["sideflame.io/version"] = "0.1.0"
	pod.Spec.ShareProcessNamespace = new(true)
	pod.Spec.InitContainers = append(pod.Spec.InitContainers, sidecar(pod))
	pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{
		Name: "sideflame-store",
		VolumeSource: corev1.VolumeSource{
			EmptyDir: &corev1.EmptyDirVolumeSource{SizeLimit: new(resource.MustParse("256Mi"))},
		},
	})
}

func sidecar(pod *corev1.Pod) corev1.Container {
	security := &corev1.SecurityContext{
		AllowPrivilegeEscalation: new(false),
		ReadOnlyRootFilesystem:   new(true),
		Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		SeccompProfile:           &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
	if of := pod.Spec.Containers[0].SecurityContext; of != nil {
		security.RunAsUser, security.RunAsGroup = of.RunAsUser, of.RunAsGroup
	}
	return corev1.Container{
		Name:          "sideflame",
		Image:         "sideflame:0.1.0",
		Args:          []string{"serve"},
		RestartPolicy: new(corev1.ContainerRestartPolicyAlways),
		Ports:         []corev1.ContainerPort{{Name: "sideflame", ContainerPort: 7117, Protocol: corev1.ProtocolTCP}},
		Env: []corev1.EnvVar{
			{Name: "SIDEFLAME_STORE_DIR", Value: "/var/lib/sideflame"},
			{Name: "SIDEFLAME_STORE_SIZE", Value: "256Mi"},
			{Name: "SIDEFLAME_LISTEN", Value: "127.0.0.1:7117"},
		},
		Resources: corev1.ResourceRequirements{
			Requests: corev1.ResourceList{
				corev1.ResourceCPU:    resource.MustParse("10m"),
				corev1.ResourceMemory: resource.MustParse("32Mi"),
			},
			Limits: corev1.ResourceList{
				corev1.ResourceCPU:    resource.MustParse("1"),
				corev1.ResourceMemory: resource.MustParse("256Mi"),
			},
		},
		VolumeMounts:    []corev1.VolumeMount{{Name: "sideflame-store", MountPath: "/var/lib/sideflame"}},
		SecurityContext: security,
	}
}
