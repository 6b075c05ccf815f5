{{- define "virtufin.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 48 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 48 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 48 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "virtufin.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "virtufin.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{ include "virtufin.selector" . }}
app.kubernetes.io/version: {{ default .Chart.AppVersion .Values.image.tag | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- /* The pods, as YAML: which modules run in each, which one's ports it shows, and under which name
       Dapr knows it. */ -}}
{{- define "virtufin.pods" -}}
{{- $name := include "virtufin.fullname" . -}}
{{- if and .Values.split (ne .Values.bus "dapr") -}}
{{- fail "split: true needs bus: dapr, because an in-memory bus ends at its process" -}}
{{- end -}}
pods:
{{- if .Values.split }}
  - {name: {{ $name }}-gateway, face: gateway, appId: apigateway, http: 5001, grpc: 5002, modules: [gateway]}
  - {name: {{ $name }}-wsm, face: wsm, appId: websocketmanager, http: 15001, grpc: 15002, modules: [wsm]}
  - {name: {{ $name }}-workmanager, face: workmanager, appId: workmanager, http: 25001, grpc: 25002, modules: [workmanager]}
{{- else }}
  - {name: {{ $name }}, face: gateway, appId: virtufin, http: 5001, grpc: 5002, modules: [gateway, wsm, workmanager]}
{{- end }}
{{- end -}}

{{- /* services.json of contract and gateway: the platform's other pods, then the values' own. */ -}}
{{- define "virtufin.servicesJson" -}}
{{- $services := list -}}
{{- if .Values.split -}}
{{- range (include "virtufin.pods" . | fromYaml).pods -}}
{{- if ne .face "gateway" -}}
{{- $services = append $services (dict "name" .appId "protocol" "grpc" "grpc" (dict "host" .name "port" .grpc)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range .Values.services -}}
{{- $service := dict "name" .name "protocol" "grpc" "grpc" (dict "host" .host "port" .port) -}}
{{- with .pubsubName -}}{{- $_ := set $service "pubsub" (dict "pubsubName" .) -}}{{- end -}}
{{- with .storeName -}}{{- $_ := set $service "state" (dict "storeName" .) -}}{{- end -}}
{{- $services = append $services $service -}}
{{- end -}}
{{- dict "services" $services | toPrettyJson -}}
{{- end -}}
