package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/util/json"
	celconfig "k8s.io/apiserver/pkg/apis/cel"

	// Imported for its module, which contains the CRDs; the program does not use the client.
	_ "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"
)

// httpRoute validates with the Gateway API's CRD, as the API server does. Since version 1.1, the
// CRD contains all admission rules.
func httpRoute(manifest []byte) []error {
	crd, err := httpRouteCRD()
	if err != nil {
		return []error{err}
	}
	object := map[string]any{}
	if err := json.Unmarshal(manifest, &object); err != nil {
		return []error{err}
	}
	errs := []error{}
	options := schema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true}
	for _, path := range pruning.PruneWithOptions(object, crd.structural, true, options) {
		errs = append(errs, fmt.Errorf("unknown field %q", path))
	}
	defaulting.Default(object, crd.structural)
	for _, err := range validation.ValidateCustomResource(nil, object, crd.validator) {
		errs = append(errs, err)
	}
	// The rules in CEL need an object that matches the schema.
	if len(errs) > 0 {
		return errs
	}
	rules := cel.NewValidator(crd.structural, true, celconfig.PerCallLimit)
	said, _ := rules.Validate(context.Background(), nil, crd.structural, object, nil, celconfig.RuntimeCELCostBudget)
	for _, err := range said {
		errs = append(errs, err)
	}
	return errs
}

type definition struct {
	structural *schema.Structural
	validator  validation.SchemaValidator
}

// httpRouteCRD reads the standard channel's CRD from the Gateway API's module.
var httpRouteCRD = sync.OnceValues(func() (made definition, err error) {
	folder, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/gateway-api").Output()
	if err != nil {
		return made, fmt.Errorf("go list cannot find sigs.k8s.io/gateway-api: %w", err)
	}
	file := filepath.Join(strings.TrimSpace(string(folder)), "config/crd/standard/gateway.networking.k8s.io_httproutes.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		return made, err
	}
	crd := &apiextensionsv1.CustomResourceDefinition{}
	if err := yaml.Unmarshal(text, crd); err != nil {
		return made, err
	}
	for _, version := range crd.Spec.Versions {
		if version.Name != "v1" {
			continue
		}
		internal := &apiextensions.CustomResourceValidation{}
		if err := apiextensionsv1.Convert_v1_CustomResourceValidation_To_apiextensions_CustomResourceValidation(version.Schema, internal, nil); err != nil {
			return made, err
		}
		if made.structural, err = schema.NewStructural(internal.OpenAPIV3Schema); err != nil {
			return made, err
		}
		made.validator, _, err = validation.NewSchemaValidator(internal.OpenAPIV3Schema)
		return made, err
	}
	return made, fmt.Errorf("%s has no version v1", file)
})
