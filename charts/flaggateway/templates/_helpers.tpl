{{- define "flaggateway.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "flaggateway.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else if contains (include "flaggateway.name" .) .Release.Name }}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "flaggateway.name" .) | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "flaggateway.selector" -}}
app.kubernetes.io/name: {{ include "flaggateway.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "flaggateway.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "flaggateway.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "flaggateway.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "flaggateway.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "flaggateway.image" -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) }}
{{- end }}

{{- /* The settings file as YAML: `settings`, with what the values of ConfigCat Proxy's chart add. */}}
{{- define "flaggateway.settings" -}}
{{- $settings := deepCopy .Values.settings }}
{{- $options := .Values.configcat.options | default dict }}
{{- $sdks := deepCopy (get $settings "sdks" | default dict) }}
{{- range $id, $key := .Values.sdks }}
{{- $_ := set $sdks $id (merge (dict "key" $key) (get $sdks $id | default dict)) }}
{{- end }}
{{- range $id, $key := .Values.configcat.sdks.configurations }}
{{- $sdk := dict "key" $key }}
{{- with $options.pollIntervalSeconds }}{{ $_ := set $sdk "poll_interval" . }}{{ end }}
{{- with $options.dataGovernance }}{{ $_ := set $sdk "data_governance" (lower .) }}{{ end }}
{{- with $options.baseUrl }}
{{- /* The proxy's chart always sets it; the addresses of ConfigCat itself are chosen by data_governance. */}}
{{- if not (regexMatch "^https://cdn-(global|eu)\\.configcat\\.com/?$" .) }}{{ $_ := set $sdk "base_url" . }}{{ end }}
{{- end }}
{{- $_ := set $sdks $id (merge $sdk (get $sdks $id | default dict)) }}
{{- end }}
{{- if $sdks }}{{ $_ := set $settings "sdks" $sdks }}{{ end }}
{{- with $options.logLevel }}
{{- $_ := set $settings "log" (merge (dict "level" .) (get $settings "log" | default dict)) }}
{{- end }}
{{- with .Values.externalRedis.host }}
{{- $redis := dict "enabled" true "addresses" (list (printf "%s:%v" . $.Values.externalRedis.port)) "db" (int $.Values.externalRedis.database) }}
{{- with ($options.cache | default dict).redis }}
{{- with .user }}{{ $_ := set $redis "user" . }}{{ end }}
{{- if (.tls | default dict).enabled }}{{ $_ := set $redis "tls" (pick .tls "enabled" "min_version" "server_name") }}{{ end }}
{{- end }}
{{- $cache := deepCopy (get $settings "cache" | default dict) }}
{{- $_ := set $cache "redis" (merge (get $cache "redis" | default dict) $redis) }}
{{- $_ := set $settings "cache" $cache }}
{{- end }}
{{- with ($options.followers | default dict).cachePollInterval }}
{{- $_ := set $settings "offline" (merge (get $settings "offline" | default dict) (dict "cache_poll_interval" .)) }}
{{- end }}
{{- toYaml $settings }}
{{- end }}

{{- /* The settings as a dict, to read single options. */}}
{{- define "flaggateway.port" -}}
{{- (.Values.settings.http | default dict).port | default 8050 }}
{{- end }}
{{- define "flaggateway.diagPort" -}}
{{- (.Values.settings.diag | default dict).port | default 8051 }}
{{- end }}

{{- /* "true" if changes or evaluations are stored in a file of the pod. */}}
{{- define "flaggateway.embedded" -}}
{{- $outbox := .Values.settings.outbox | default dict }}
{{- $shared := $outbox.url }}
{{- range .Values.env }}{{ if eq .name "CONFIGCAT_OUTBOX_URL" }}{{ $shared = "set" }}{{ end }}{{ end }}
{{- $exporter := (.Values.settings.exporter | default dict) }}
{{- if or (and .Values.settings.webhooks (not $shared)) $exporter.endpoint_url $exporter.path }}true{{ end }}
{{- end }}

{{- define "flaggateway.stateful" -}}
{{- $enabled := toString .Values.persistence.enabled }}
{{- if or (eq $enabled "true") (and (eq $enabled "auto") (include "flaggateway.embedded" .)) }}true{{ end }}
{{- end }}

{{- define "flaggateway.replicas" -}}
{{- if .Values.clusterMode.enabled }}
{{- $leader := .Values.clusterMode.leader | default dict }}
{{- $followers := .Values.clusterMode.followers | default dict }}
{{- add (int ($leader.replicaCount | default 1)) (int ($followers.replicaCount | default 1)) }}
{{- else }}
{{- int .Values.replicaCount }}
{{- end }}
{{- end }}

{{- /* Seconds for a stop: port stays open, streams end, requests and deliveries in flight end. */}}
{{- define "flaggateway.graceSeconds" -}}
{{- $http := .Values.settings.http | default dict }}
{{- $delay := ternary 0 $http.shutdown_delay (kindIs "invalid" $http.shutdown_delay) }}
{{- $sse := $http.sse | default dict }}
{{- $drain := ternary 5 $sse.drain_window (kindIs "invalid" $sse.drain_window) }}
{{- add (ceil $delay) (ceil $drain) 10 }}
{{- end }}

{{- /* Refuses values with which the pods would not do what is wanted. */}}
{{- define "flaggateway.check" -}}
{{- if hasSuffix "configcat/proxy" .Values.image.repository }}
{{- fail "image.repository: this chart runs flaggateway, and the image is that of ConfigCat Proxy." }}
{{- end }}
{{- if .Values.redis.enabled }}
{{- fail "redis.enabled: this chart contains no Redis. Install one and set externalRedis.host, or settings.cache.redis." }}
{{- end }}
{{- if and .Values.clusterMode.enabled (not .Values.externalRedis.host) (not (dig "cache" "redis" "enabled" false .Values.settings)) }}
{{- fail "clusterMode.enabled: set externalRedis.host, or settings.cache.redis, through which the pods share configs." }}
{{- end }}
{{- $several := or .Values.autoscaling.enabled (gt (int (include "flaggateway.replicas" .)) 1) }}
{{- if and .Values.settings.webhooks (include "flaggateway.embedded" .) (not (dig "outbox" "url" "" .Values.settings)) $several }}
{{- $shared := "" }}
{{- range .Values.env }}{{ if eq .name "CONFIGCAT_OUTBOX_URL" }}{{ $shared = "set" }}{{ end }}{{ end }}
{{- if not $shared }}
{{- fail "settings.webhooks: each pod would send each change. Set settings.outbox.url (or CONFIGCAT_OUTBOX_URL in env), or replicaCount: 1." }}
{{- end }}
{{- end }}
{{- if and (include "flaggateway.stateful" .) .Values.autoscaling.enabled }}
{{- fail "autoscaling.enabled: pods with volumes of their own are not scaled, since a pod that goes leaves its messages behind." }}
{{- end }}
{{- if and (eq (toString .Values.persistence.enabled) "false") (include "flaggateway.embedded" .) }}
{{- fail "persistence.enabled: without a volume a restart would lose what webhooks or the exporter have not sent yet." }}
{{- end }}
{{- end }}

{{- define "flaggateway.pod" -}}
metadata:
  annotations:
    {{- if not .Values.settingsSecret }}
    checksum/settings: {{ include "flaggateway.settings" . | sha256sum }}
    {{- end }}
    {{- with .Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  labels:
    {{- include "flaggateway.labels" . | nindent 4 }}
    {{- with .Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "flaggateway.serviceAccountName" . }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  securityContext:
    {{- toYaml .Values.podSecurityContext | nindent 4 }}
  terminationGracePeriodSeconds: {{ include "flaggateway.graceSeconds" . }}
  containers:
    - name: flaggateway
      image: {{ include "flaggateway.image" . | quote }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args: [run, --config, /etc/flaggateway/flaggateway.yml]
      securityContext:
        {{- toYaml .Values.securityContext | nindent 8 }}
      {{- $redisAuth := .Values.externalRedis.auth }}
      {{- $sdksSecret := .Values.configcat.sdks.existingSecret | default .Values.sdksSecret.name }}
      {{- if or .Values.env $sdksSecret (and $redisAuth.enabled $redisAuth.existingSecret) }}
      env:
        {{- if $sdksSecret }}
        - name: CONFIGCAT_SDKS
          valueFrom:
            secretKeyRef:
              name: {{ $sdksSecret }}
              key: {{ ternary .Values.configcat.sdks.existingSecretSdkConfigurationKey .Values.sdksSecret.key (ne .Values.configcat.sdks.existingSecret "") }}
        {{- end }}
        {{- if and $redisAuth.enabled $redisAuth.existingSecret }}
        - name: CONFIGCAT_CACHE_REDIS_PASSWORD
          valueFrom:
            secretKeyRef:
              name: {{ $redisAuth.existingSecret }}
              key: {{ $redisAuth.existingSecretPasswordKey }}
        {{- end }}
        {{- with .Values.env }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- end }}
      {{- with .Values.envFrom }}
      envFrom:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      ports:
        - {name: http, containerPort: {{ include "flaggateway.port" . }}, protocol: TCP}
        - {name: diagnostics, containerPort: {{ include "flaggateway.diagPort" . }}, protocol: TCP}
      startupProbe:
        httpGet: {path: /livez, port: diagnostics}
        periodSeconds: 2
        timeoutSeconds: 5
        failureThreshold: 60
      livenessProbe:
        httpGet: {path: /livez, port: diagnostics}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      readinessProbe:
        httpGet: {path: /readyz, port: diagnostics}
        periodSeconds: 5
        timeoutSeconds: 5
        failureThreshold: 2
      resources:
        {{- toYaml .Values.resources | nindent 8 }}
      volumeMounts:
        - {name: settings, mountPath: /etc/flaggateway, readOnly: true}
        - {name: state, mountPath: /var/lib/flaggateway}
        - {name: tmp, mountPath: /tmp}
        {{- with .Values.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    - name: settings
      secret:
        secretName: {{ .Values.settingsSecret | default (printf "%s-settings" (include "flaggateway.fullname" .)) }}
        defaultMode: 0440
    - name: tmp
      emptyDir: {}
    {{- if not (include "flaggateway.stateful" .) }}
    - name: state
      emptyDir: {}
    {{- end }}
    {{- with .Values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  topologySpreadConstraints:
    {{- if .Values.topologySpreadConstraints }}
    {{- toYaml .Values.topologySpreadConstraints | nindent 4 }}
    {{- else }}
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "flaggateway.selector" . | nindent 10 }}
    {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
