package main

import (
	"context"
	"errors"

	"github.com/kserve/kserve/pkg/apis/serving/v1alpha1"
	"github.com/kserve/kserve/pkg/apis/serving/v1beta1"
	"github.com/kserve/kserve/pkg/constants"
	"github.com/kserve/kserve/pkg/webhook/admission/servingruntime"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"knative.dev/pkg/apis"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"onnx-function/lines"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

func inferenceService(manifest []byte) []error {
	service := &v1beta1.InferenceService{}
	if err := lines.Decode(manifest, service); err != nil {
		return []error{err}
	}
	service.DefaultInferenceService(&v1beta1.InferenceServicesConfig{}, nil, nil, nil, nil)
	validator := &v1beta1.InferenceServiceValidator{}
	if _, err := validator.ValidateCreate(context.Background(), service); err != nil {
		return []error{err}
	}
	if service.Annotations[constants.DeploymentMode] == string(constants.Knative) && service.Spec.Predictor.Model == nil {
		return admitPredictor(knativePredictor(service))
	}
	return nil
}

// admitPredictor runs the validation of the Serving version that KServe depends on.
func admitPredictor(service *servingv1.Service) (errs []error) {
	ctx := apis.WithinCreate(context.Background())
	service.SetDefaults(ctx)
	// Serving accepts objects with warnings.
	for _, err := range service.Validate(ctx).Filter(apis.ErrorLevel).WrappedErrors() {
		errs = append(errs, err)
	}
	return errs
}

// knativePredictor returns the Knative Service that KServe creates for a predictor with its own
// containers.
func knativePredictor(from *v1beta1.InferenceService) *servingv1.Service {
	predictor := from.Spec.Predictor
	made := &servingv1.Service{}
	made.Name = from.Name + "-predictor"
	made.Spec.Template.Spec = servingv1.RevisionSpec{
		PodSpec:              corev1.PodSpec(predictor.PodSpec),
		ContainerConcurrency: predictor.ContainerConcurrency,
		TimeoutSeconds:       predictor.TimeoutSeconds,
	}
	if percent := predictor.CanaryTrafficPercent; percent != nil {
		rest := 100 - *percent
		made.Spec.Traffic = []servingv1.TrafficTarget{
			{LatestRevision: new(true), Percent: percent},
			{RevisionName: made.Name + "-00001", LatestRevision: new(false), Percent: &rest},
		}
	}
	return made
}

func servingRuntime(manifest []byte) []error {
	made := &v1alpha1.ServingRuntime{}
	if err := lines.Decode(manifest, made); err != nil {
		return []error{err}
	}
	decoder, list := admission.NewDecoder(scheme()), oneRuntime{namespaced: made}
	return refused(&servingruntime.ServingRuntimeValidator{Client: list, Decoder: decoder}, manifest)
}

func clusterServingRuntime(manifest []byte) []error {
	made := &v1alpha1.ClusterServingRuntime{}
	if err := lines.Decode(manifest, made); err != nil {
		return []error{err}
	}
	decoder, list := admission.NewDecoder(scheme()), oneRuntime{cluster: made}
	return refused(&servingruntime.ClusterServingRuntimeValidator{Client: list, Decoder: decoder}, manifest)
}

func refused(handler admission.Handler, manifest []byte) []error {
	request := admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{
		Operation: admissionv1.Create,
		Object:    runtime.RawExtension{Raw: manifest},
	}}
	if response := handler.Handle(context.Background(), request); !response.Allowed {
		return []error{errors.New(response.Result.Message)}
	}
	return nil
}

func scheme() *runtime.Scheme {
	made := runtime.NewScheme()
	// AddToScheme cannot fail on an empty scheme.
	_ = v1alpha1.AddToScheme(made)
	return made
}

// oneRuntime is the client of a cluster that contains only this runtime, so that the webhook
// compares its formats.
type oneRuntime struct {
	client.Client
	namespaced *v1alpha1.ServingRuntime
	cluster    *v1alpha1.ClusterServingRuntime
}

func (one oneRuntime) List(_ context.Context, list client.ObjectList, _ ...client.ListOption) error {
	switch list := list.(type) {
	case *v1alpha1.ServingRuntimeList:
		list.Items = []v1alpha1.ServingRuntime{*one.namespaced}
	case *v1alpha1.ClusterServingRuntimeList:
		list.Items = []v1alpha1.ClusterServingRuntime{*one.cluster}
	}
	return nil
}
