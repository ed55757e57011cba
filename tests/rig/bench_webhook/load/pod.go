package main

import (
	"encoding/json"
	"fmt"
)

// Its first eight digits are those that change from request to request.
const uid = "00000000-5ab2-4f0e-9d6c-2f1b7c0e4a11"

// A pod is a shape to send.
type pod struct {
	name        string
	environment int
}

type object = map[string]any

// review returns the AdmissionReview of a pod that a ReplicaSet creates, as an API server sends it: with defaults
// and managedFields filled in.
func (p pod) review(annotated bool) []byte {
	annotation := "sideflame.io/inject"
	if !annotated {
		annotation = "example.com/profile" // as long
	}
	kind := object{"group": "", "version": "v1", "kind": "Pod"}
	resource := object{"group": "", "version": "v1", "resource": "pods"}
	body, err := json.Marshal(object{
		"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
		"request": object{
			"uid": uid, "kind": kind, "resource": resource, "requestKind": kind, "requestResource": resource,
			"name": "shop-7d9f8c6b5d-x2vqk", "namespace": "shop", "operation": "CREATE",
			"userInfo": object{
				"username": "system:serviceaccount:kube-system:replicaset-controller",
				"uid":      "9d1b3c52-0f6c-4a83-8f3c-6c6a4a1f7a52",
				"groups":   []string{"system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"},
			},
			"object":    p.object(annotation),
			"oldObject": nil, "dryRun": false,
			"options": object{"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
		},
	})
	if err != nil {
		panic(err) // of maps, lists and texts
	}
	return body
}

func (p pod) object(annotation string) object {
	labels := object{"app": "shop", "pod-template-hash": "7d9f8c6b5d"}
	environment := []object{}
	environmentFields := object{".": object{}}
	for i := range p.environment {
		name := fmt.Sprintf("SHOP_SETTING_%04d", i)
		environment = append(environment, object{"name": name, "value": fmt.Sprintf("value-%04d-%032x", i, i)})
		environmentFields[fmt.Sprintf(`k:{"name":%q}`, name)] = object{".": object{}, "f:name": object{}, "f:value": object{}}
	}
	return object{
		"kind": "Pod", "apiVersion": "v1",
		"metadata": object{
			"name": "shop-7d9f8c6b5d-x2vqk", "generateName": "shop-7d9f8c6b5d-", "namespace": "shop",
			"uid": "1f0b1d52-93c7-4a53-8a53-98b7b4d3d111", "creationTimestamp": "2026-11-21T06:00:00Z",
			"labels": labels, "annotations": object{annotation: "true"},
			"ownerReferences": []object{{
				"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "shop-7d9f8c6b5d",
				"uid": "5c2f9a40-8d84-4f7c-b1ea-3a8f5d1f2b22", "controller": true, "blockOwnerDeletion": true,
			}},
			"managedFields": []object{{
				"manager": "kube-controller-manager", "operation": "Update", "apiVersion": "v1",
				"time": "2026-11-21T06:00:00Z", "fieldsType": "FieldsV1",
				"fieldsV1": object{
					"f:metadata": object{
						"f:annotations":  object{".": object{}, "f:" + annotation: object{}},
						"f:generateName": object{},
						"f:labels":       object{".": object{}, "f:app": object{}, "f:pod-template-hash": object{}},
						"f:ownerReferences": object{
							".": object{}, `k:{"uid":"5c2f9a40-8d84-4f7c-b1ea-3a8f5d1f2b22"}`: object{},
						},
					},
					"f:spec": object{
						"f:containers": object{`k:{"name":"shop"}`: object{
							".": object{}, "f:env": environmentFields, "f:image": object{}, "f:imagePullPolicy": object{},
							"f:name": object{}, "f:ports": object{}, "f:resources": object{}, "f:securityContext": object{},
							"f:terminationMessagePath": object{}, "f:terminationMessagePolicy": object{},
						}},
						"f:dnsPolicy": object{}, "f:enableServiceLinks": object{}, "f:restartPolicy": object{},
						"f:schedulerName": object{}, "f:securityContext": object{}, "f:terminationGracePeriodSeconds": object{},
					},
				},
			}},
		},
		"spec": object{
			"volumes": []object{{"name": "kube-api-access-8wq2n", "projected": object{
				"defaultMode": 420,
				"sources": []object{
					{"serviceAccountToken": object{"expirationSeconds": 3607, "path": "token"}},
					{"configMap": object{"name": "kube-root-ca.crt", "items": []object{{"key": "ca.crt", "path": "ca.crt"}}}},
					{"downwardAPI": object{"items": []object{{
						"path": "namespace", "fieldRef": object{"apiVersion": "v1", "fieldPath": "metadata.namespace"},
					}}}},
				},
			}}},
			"containers": []object{{
				"name": "shop", "image": "registry.example.com/shop/shop:4.2.0", "imagePullPolicy": "IfNotPresent",
				"ports": []object{{"name": "http", "containerPort": 8080, "protocol": "TCP"}},
				"env":   environment,
				"resources": object{
					"requests": object{"cpu": "250m", "memory": "512Mi"}, "limits": object{"cpu": "1", "memory": "512Mi"},
				},
				"volumeMounts": []object{{
					"name": "kube-api-access-8wq2n", "readOnly": true,
					"mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
				}},
				"livenessProbe": object{
					"httpGet":        object{"path": "/healthz", "port": "http", "scheme": "HTTP"},
					"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3,
				},
				"securityContext": object{
					"runAsUser": 1000, "runAsGroup": 1000, "runAsNonRoot": true, "allowPrivilegeEscalation": false,
					"capabilities": object{"drop": []string{"ALL"}},
				},
				"terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
			}},
			"restartPolicy": "Always", "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst",
			"serviceAccountName": "default", "serviceAccount": "default", "schedulerName": "default-scheduler",
			"securityContext": object{"seccompProfile": object{"type": "RuntimeDefault"}},
			"tolerations": []object{
				{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
				{"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
			},
			"priority": 0, "enableServiceLinks": true, "preemptionPolicy": "PreemptLowerPriority",
		},
		"status": object{"phase": "Pending", "qosClass": "Burstable"},
	}
}
