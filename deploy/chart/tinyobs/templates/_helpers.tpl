{{- define "tinyobs.fullname" -}}
{{- $name := .Values.nameOverride | default .Chart.Name -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{- define "tinyobs.labels" -}}
app.kubernetes.io/name: {{ .Values.nameOverride | default .Chart.Name | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
{{- end }}

{{- define "tinyobs.selector" -}}
app.kubernetes.io/name: {{ .Values.nameOverride | default .Chart.Name | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "tinyobs.adminSecret" -}}
{{- .Values.auth.admin.existingSecret | default (printf "%s-admin" (include "tinyobs.fullname" .)) -}}
{{- end }}

{{- define "tinyobs.agentSecret" -}}
{{- .Values.auth.agents.existingSecret | default (printf "%s-agent" (include "tinyobs.fullname" .)) -}}
{{- end }}

{{- define "tinyobs.tlsSecret" -}}
{{- if eq .Values.tls.mode "secret" -}}
{{- required "tls.mode=secret needs tls.existingSecret: a Secret with tls.crt, tls.key and ca.crt" .Values.tls.existingSecret -}}
{{- else -}}
{{- include "tinyobs.fullname" . }}-tls
{{- end -}}
{{- end }}

{{- define "tinyobs.agentTlsSecret" -}}
{{- if eq .Values.tls.mode "cert-manager" -}}
{{- include "tinyobs.fullname" . }}-agent-tls
{{- else -}}
{{- required "tls.agents.enabled needs tls.mode=cert-manager or tls.agents.existingSecret" .Values.tls.agents.existingSecret -}}
{{- end -}}
{{- end }}

{{- /* The Secret whose ca.crt agents trust; empty for the usual authorities. */ -}}
{{- define "tinyobs.caSecret" -}}
{{- if .Values.agent.server.caSecret -}}
{{- .Values.agent.server.caSecret -}}
{{- else if and .Values.server.enabled (ne .Values.tls.mode "none") -}}
{{- include "tinyobs.tlsSecret" . -}}
{{- end -}}
{{- end }}

{{- define "tinyobs.scheme" -}}
{{- if eq .Values.tls.mode "none" -}}http{{- else -}}https{{- end -}}
{{- end }}

{{- /* Where agents report. */ -}}
{{- define "tinyobs.url" -}}
{{- if .Values.server.enabled -}}
{{- if .Values.agent.server.url -}}
{{- fail "agent.server.url is for agents without a server of their own: set server.enabled=false, or remove it" -}}
{{- end -}}
{{- printf "%s://%s.%s.svc:%d" (include "tinyobs.scheme" .) (include "tinyobs.fullname" .) .Release.Namespace (int .Values.server.service.port) -}}
{{- else -}}
{{- required "server.enabled=false needs agent.server.url: where the agents report" .Values.agent.server.url -}}
{{- end -}}
{{- end }}

{{- define "tinyobs.image" -}}
{{- printf "%s/%s:%s" .root.Values.imageRegistry .image.name (.image.tag | default .root.Chart.AppVersion) -}}
{{- end }}

{{- define "tinyobs.containerdRoot" -}}
{{- $roots := dict "containerd" "/var/lib/containerd" "k3s" "/var/lib/rancher/k3s/agent/containerd" "rke2" "/var/lib/rancher/rke2/agent/containerd" "k0s" "/var/lib/k0s/containerd" "microk8s" "/var/snap/microk8s/common/var/lib/containerd" -}}
{{- .Values.agent.containerd.root | default (index $roots .Values.agent.preset) -}}
{{- end }}

{{- define "tinyobs.containerdSocket" -}}
{{- $sockets := dict "containerd" "/run/containerd/containerd.sock" "k3s" "/run/k3s/containerd/containerd.sock" "rke2" "/run/k3s/containerd/containerd.sock" "k0s" "/run/k0s/containerd.sock" "microk8s" "/var/snap/microk8s/common/run/containerd.sock" -}}
{{- .Values.agent.containerd.socket.path | default (index $sockets .Values.agent.preset) -}}
{{- end }}

{{- /* What somebody sets would have no effect, for the chart sets it itself: refused. */ -}}
{{- define "tinyobs.checkConfig" -}}
{{- $config := .Values.server.config -}}
{{- if hasKey $config "data_dir" -}}{{- fail "server.config.data_dir is the chart's: see server.persistence" -}}{{- end -}}
{{- if hasKey $config "server" -}}
{{- if hasKey $config.server "listen" -}}{{- fail "server.config.server.listen is the chart's: see server.listenAddress" -}}{{- end -}}
{{- if hasKey $config.server "tls" -}}
{{- range $key := list "mode" "certificate_file" "key_file" "client_auth" "client_ca_file" -}}
{{- if hasKey $config.server.tls $key -}}{{- fail (printf "server.config.server.tls.%s is the chart's: see tls" $key) -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if hasKey $config "auth" -}}
{{- range $key := list "mode" "bootstrap_admin_key" "bootstrap_admin_key_file" -}}
{{- if hasKey $config.auth $key -}}{{- fail (printf "server.config.auth.%s is the chart's: see auth" $key) -}}{{- end -}}
{{- end -}}
{{- if and .Values.tls.agents.enabled (hasKey $config.auth "certificates") -}}{{- fail "server.config.auth.certificates is the chart's while tls.agents.enabled is set" -}}{{- end -}}
{{- end -}}
{{- if hasKey $config "telemetry" -}}
{{- if hasKey $config.telemetry "metrics_public" -}}{{- fail "server.config.telemetry.metrics_public is the chart's: see server.metricsPublic" -}}{{- end -}}
{{- end -}}
{{- if hasKey $config "pulls" -}}
{{- if hasKey $config.pulls "agents" -}}
{{- range $key := list "token" "token_file" -}}
{{- if hasKey $config.pulls.agents $key -}}{{- fail (printf "server.config.pulls.agents.%s is the chart's: see auth.agents" $key) -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- if hasKey $config.pulls "kubernetes" -}}
{{- range $key := list "mode" "cluster" "namespaces" -}}
{{- if hasKey $config.pulls.kubernetes $key -}}{{- fail (printf "server.config.pulls.kubernetes.%s is the chart's: see kubernetes and cluster" $key) -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end }}
