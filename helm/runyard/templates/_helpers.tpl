{{- define "runyard.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "runyard.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "runyard.labels" -}}
{{ include "runyard.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "runyard.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{- define "runyard.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "runyard.name" .) -}}
{{- else -}}
{{- required "serviceAccount.name is needed when serviceAccount.create is false" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "runyard.subject" -}}
- kind: ServiceAccount
  name: {{ include "runyard.serviceAccount" . }}
  namespace: {{ .Release.Namespace }}
{{- end -}}

{{/* What the operator does in each namespace that it watches. */}}
{{- define "runyard.namespacedRules" -}}
- apiGroups: [runyard.dev]
  resources: [experiments]
  verbs: [get, list, watch, patch, delete]
- apiGroups: [runyard.dev]
  resources: [executionunits]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [runyard.dev]
  resources: [experiments/status, executionunits/status]
  verbs: [patch]
# Clusters that enforce owner references ask for this verb on the owner's finalizers.
- apiGroups: [runyard.dev]
  resources: [experiments/finalizers, executionunits/finalizers]
  verbs: [update]
- apiGroups: [runyard.dev]
  resources: [executionprofiles]
  verbs: [get, list, watch]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [ray.io]
  resources: [rayjobs]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [ray.io]
  resources: [rayclusters]
  verbs: [get, list, watch, create, delete]
- apiGroups: [trainer.kubeflow.org]
  resources: [trainjobs]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [trainer.kubeflow.org]
  resources: [trainingruntimes]
  verbs: [get, list, watch, create]
# Why Kueue holds a job, and whether it may run (spec.active).
- apiGroups: [kueue.x-k8s.io]
  resources: [workloads]
  verbs: [list, patch]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch]
- apiGroups: [""]
  resources: [pods/log]
  verbs: [get]
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, list, create, patch, delete]
# The names of the pods of a Job with several nodes.
- apiGroups: [""]
  resources: [services]
  verbs: [get, create]
- apiGroups: [""]
  resources: [events]
  verbs: [create, list]
{{- end -}}

{{/* Kinds without a namespace; these cannot be granted by a Role. */}}
{{- define "runyard.clusterRules" -}}
- apiGroups: [runyard.dev]
  resources: [backends]
  verbs: [get, list, watch]
- apiGroups: [trainer.kubeflow.org]
  resources: [clustertrainingruntimes]
  verbs: [get, list, watch]
# Which of the kinds above the cluster serves.
- apiGroups: [apiextensions.k8s.io]
  resources: [customresourcedefinitions]
  verbs: [get, list, watch]
{{- end -}}

{{/* Not the operator's selector: its Service and its budget must not find the store. */}}
{{- define "runyard.storeSelector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}-store
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "runyard.storeLabels" -}}
{{ include "runyard.storeSelector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "runyard.storeSecret" -}}
{{ .Values.bundleStore.existingSecret | default "runyard-store" }}
{{- end -}}

{{- define "runyard.storeSubject" -}}
- kind: ServiceAccount
  name: runyard-store
  namespace: {{ .Release.Namespace }}
{{- end -}}

{{/* What the store does in each namespace: read tickets, write manifests, see which are left. */}}
{{- define "runyard.storeRules" -}}
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, list, create, patch]
{{- end -}}
