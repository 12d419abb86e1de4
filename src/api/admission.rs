//! What the API server refuses, in one place: the CEL rules of the CRDs, each with a message that names the field and
//! the remedy. Bounds and formats stand at the fields; no webhook exists. Known limits of CEL are answered by
//! [`super::body_check`] before anything is sent: a rule that every `depends_on` names a task would cost a hundred times
//! the API server's budget. CEL sees only fields that the schema declares, so refused fields are declared too.

use serde::Serialize;

/// One rule of `x-kubernetes-validations`.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Rule {
    /// The CEL expression that must be true.
    pub rule: &'static str,
    /// What the user reads when it is not.
    pub message: &'static str,
}

/// `DatabricksRun.spec`.
pub const RUN_SPEC: &[Rule] = &[
    Rule {
        rule: "has(self.runNow) != has(self.submit)",
        message: "must have exactly one of `runNow` (run a saved job) and `submit` (run once, without a saved job); \
                  beside `jobName`, `runNow` may be `{}`",
    },
    Rule {
        rule: "!has(self.jobName) || !has(self.submit)",
        message: "`jobName` must stand beside `runNow`, not `submit`: it names the saved job; a one-off run is named by \
                  `submit.run_name`",
    },
    Rule {
        rule: "!has(self.runNow) || has(self.runNow.job_id) != has(self.jobName)",
        message: "must have exactly one of `runNow.job_id` and `jobName`: the id or the name of the saved job",
    },
    Rule {
        rule: "!has(self.submit) || !has(self.failurePolicy) || \
               self.failurePolicy.rules.all(rule, rule.action != 'Repair')",
        message: "`failurePolicy` must not ask for `Repair` of a one-off run: Databricks repairs runs of saved jobs; use \
                  `Retry`, or save the job and use `runNow`",
    },
];

/// Each of `spec.failurePolicy.rules`.
pub const FAILURE_POLICY_RULE: &[Rule] = &[Rule {
    rule: "has(self.onTermination) || has(self.onTaskKeys) || has(self.onResultStates)",
    message: "a rule must say what it matches: `onTermination`, `onTaskKeys` or `onResultStates`; to match every failure, \
              write `onTermination: {operator: NotIn, codes: [SUCCESS]}`",
}];

/// `spec.polling`.
pub const POLLING: &[Rule] = &[Rule {
    rule: "!has(self.initialSeconds) || !has(self.maxSeconds) || self.initialSeconds <= self.maxSeconds",
    message: "`polling.initialSeconds` must not be above `polling.maxSeconds`",
}];

/// `spec.runNow`.
pub const RUN_NOW: &[Rule] = &[NO_TOKEN];

/// `spec.submit`.
pub const SUBMIT: &[Rule] = &[
    NO_TOKEN,
    Rule {
        rule: "has(self.tasks) && self.tasks.size() > 0",
        message: "`submit.tasks` must list at least one task: `tasks: [{task_key: main, notebook_task: {notebook_path: \
                  /Shared/etl}, existing_cluster_id: …}]`",
    },
    Rule {
        rule: "[has(self.notebook_task), has(self.spark_jar_task), has(self.spark_python_task), \
               has(self.spark_submit_task), has(self.python_wheel_task), has(self.pipeline_task), has(self.sql_task), \
               has(self.dbt_task), has(self.existing_cluster_id), has(self.new_cluster), has(self.libraries)]\
               .filter(x, x).size() == 0",
        message: "task fields must stand in `submit.tasks`, not beside `run_name` (the form of Jobs API 2.0): write \
                  `tasks: [{task_key: main, notebook_task: {…}, existing_cluster_id: …}]`",
    },
    Rule {
        rule: "!has(self.job_clusters)",
        message: "`submit.job_clusters` must be left out: runs/submit has no shared job clusters; give each task \
                  `new_cluster` or `existing_cluster_id`",
    },
];

/// Each element of `spec.submit.tasks`. The lists count instead of comparing pairs: that is what the API server's cost
/// limit allows for 1,000 tasks.
pub const TASK: &[Rule] = &[
    Rule {
        rule: "[has(self.notebook_task), has(self.spark_python_task), has(self.python_wheel_task), \
               has(self.spark_jar_task), has(self.spark_submit_task), has(self.sql_task), has(self.dbt_task), \
               has(self.pipeline_task), has(self.run_job_task), has(self.condition_task), has(self.for_each_task), \
               has(self.dashboard_task), has(self.alert_task), has(self.power_bi_task), \
               has(self.clean_rooms_notebook_task), has(self.dbt_platform_task), has(self.dbt_cloud_task), \
               has(self.python_operator_task), has(self.ai_runtime_task), has(self.gen_ai_compute_task), \
               has(self.ai_function_task)].filter(x, x).size() <= 1",
        message: "a task must have one kind: keep one of its `*_task` fields and move the others to tasks of their own, \
                  ordered by `depends_on`",
    },
    Rule {
        rule: "[has(self.existing_cluster_id), has(self.new_cluster), has(self.environment_key)]\
               .filter(x, x).size() <= 1",
        message: "a task must have at most one of `existing_cluster_id`, `new_cluster` and `environment_key`; with none \
                  it runs on serverless compute, where its kind allows that",
    },
    Rule {
        rule: "!has(self.job_cluster_key)",
        message: "`job_cluster_key` must be left out: runs/submit has no shared job clusters; use `new_cluster` or \
                  `existing_cluster_id`",
    },
];

/// Every map of parameters.
pub const PARAMETERS: &[Rule] = &[Rule {
    rule: "!('true' in self) && !('false' in self)",
    message: "must not have a parameter named true or false: YAML reads the keys y, yes, on, n, no and off as booleans; \
              quote the key, as in `\"y\": \"1\"`",
}];

/// Names of Secrets, `ConfigMap`s and workspaces.
pub const OBJECT_NAME: &[Rule] = &[Rule {
    rule: "self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')",
    message: "must be the name of an object, without its namespace: lower-case letters, digits, `-` and `.`",
}];

/// Keys within Secrets and `ConfigMap`s.
pub const DATA_KEY: &[Rule] = &[Rule {
    rule: "self.matches('^[-._a-zA-Z0-9]+$')",
    message: "must be a key of the Secret or ConfigMap: letters, digits, `-`, `_` and `.`",
}];

/// `DatabricksWorkspace.spec`.
pub const WORKSPACE_SPEC: &[Rule] = &[SAME_HOST, SAME_WORKSPACE_ID, NOT_THE_OPERATOR];

/// `ClusterDatabricksWorkspace.spec`.
pub const CLUSTER_WORKSPACE_SPEC: &[Rule] = &[SAME_HOST, SAME_WORKSPACE_ID];

const SAME_HOST: Rule = Rule {
    rule: "self.host == oldSelf.host",
    message: "`host` must not change: live runs are pinned to it; create another workspace object",
};

const SAME_WORKSPACE_ID: Rule = Rule {
    rule: "has(self.workspaceId) == has(oldSelf.workspaceId) && \
           (!has(self.workspaceId) || self.workspaceId == oldSelf.workspaceId)",
    message: "`workspaceId` must not be added, changed or removed: live runs are pinned to it; create another workspace \
              object",
};

/// Whoever may write into a namespace must not borrow the operator's identity.
const NOT_THE_OPERATOR: Rule = Rule {
    rule: "!(has(self.auth.tokenFederation) && has(self.auth.tokenFederation.tokenSource)) && \
           !(has(self.auth.azureWorkloadIdentity) && has(self.auth.azureWorkloadIdentity.tokenSource))",
    message: "`tokenSource: Operator` must not stand in a DatabricksWorkspace: it would lend the operator's identity to \
              everybody who may write here; name a ServiceAccount in `serviceAccountRef`, or use a \
              ClusterDatabricksWorkspace",
};

/// `spec.host`. The second rule is silent where the first one speaks.
pub const HOST: &[Rule] = &[
    Rule {
        rule: "self.startsWith('https://')",
        message: "`host` must begin with `https://`: the credential is never sent unencrypted",
    },
    Rule {
        rule: "!self.startsWith('https://') || \
               self.matches('^https://([A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?|\\\\[[0-9A-Fa-f:.]+\\\\])(:[0-9]{1,5})?$')",
        message: "`host` must be `https://` and the host name alone, without user, path, query or slash at its end, as in \
                  `https://adb-1234567890123456.7.azuredatabricks.net`",
    },
];

/// `spec.workspaceId`.
pub const WORKSPACE_ID: &[Rule] = &[Rule {
    rule: "self.matches('^[0-9]+$')",
    message: "`workspaceId` must be the workspace's number as a string of digits: what follows `?o=` in its URLs",
}];

/// `spec.proxyUrl`.
pub const PROXY_URL: &[Rule] = &[Rule {
    rule: "self.matches('^https?://([A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?|\\\\[[0-9A-Fa-f:.]+\\\\])(:[0-9]{1,5})?$')",
    message: "`proxyUrl` must be `http://` or `https://`, a host and perhaps a port, as in `http://proxy.corp:3128`; a user \
              and a password would stand here for everybody to read",
}];

/// `spec.auth`.
pub const AUTH: &[Rule] = &[Rule {
    rule: "[has(self.pat), has(self.oauthM2M), has(self.tokenFederation), has(self.azureServicePrincipal), \
           has(self.azureWorkloadIdentity)].filter(x, x).size() == 1",
    message: "`auth` must have exactly one of `pat`, `oauthM2M`, `tokenFederation`, `azureServicePrincipal` and \
              `azureWorkloadIdentity`",
}];

/// `spec.auth.tokenFederation`.
pub const TOKEN_FEDERATION: &[Rule] = &[Rule {
    rule: ONE_ASSERTION,
    message: "`tokenFederation` must have exactly one of `serviceAccountRef` and `tokenSource`: whose token is exchanged",
}];

/// `spec.auth.azureWorkloadIdentity`.
pub const AZURE_WORKLOAD_IDENTITY: &[Rule] = &[Rule {
    rule: ONE_ASSERTION,
    message: "`azureWorkloadIdentity` must have exactly one of `serviceAccountRef` and `tokenSource`: whose token is \
              exchanged",
}];

const ONE_ASSERTION: &str = "has(self.serviceAccountRef) != has(self.tokenSource)";

/// `spec.auth.tokenFederation.audience`. What the API server's audiences are otherwise, only the operator can find out.
pub const AUDIENCE: &[Rule] = &[Rule {
    rule: "!self.matches('^(https?://)?kubernetes([.]default.*)?(:[0-9]+)?/?$')",
    message: "`audience` must not be the Kubernetes API server's: whoever gets such a token can act as the ServiceAccount \
              in this cluster; use the audience of the service principal's federation policy",
}];

/// `tenantId`: it stands in the path of the login endpoint.
pub const TENANT_ID: &[Rule] = &[Rule {
    rule: "self.matches('^[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?$')",
    message: "`tenantId` must be the id of the Entra tenant, or one of its domain names",
}];

/// `spec.allowedNamespaces.selector`.
pub const NAMESPACE_SELECTOR: &[Rule] = &[Rule {
    rule: "(has(self.matchLabels) && self.matchLabels.size() > 0) || \
           (has(self.matchExpressions) && self.matchExpressions.size() > 0)",
    message: "`selector` must ask for something: leave it out to admit no namespace by its labels, or admit every namespace \
              with `matchExpressions: [{key: kubernetes.io/metadata.name, operator: Exists}]`",
}];

/// Each of `spec.allowedNamespaces.selector.matchExpressions`.
pub const LABEL_CONDITION: &[Rule] = &[Rule {
    rule: "(self.operator in ['In', 'NotIn']) == (has(self.values) && self.values.size() > 0)",
    message: "`values` must be there with `In` and `NotIn`, and must not be there with `Exists` and `DoesNotExist`",
}];

/// `spec.auth.oauthM2M`.
pub const OAUTH_M2M: &[Rule] = &[Rule {
    rule: "has(self.clientId) != has(self.clientIdSecretRef)",
    message: "`oauthM2M` must have exactly one of `clientId` and `clientIdSecretRef`",
}];

/// Both bodies.
const NO_TOKEN: Rule = Rule {
    rule: "!has(self.idempotency_token)",
    message: "`idempotency_token` must be left out: the operator makes its own for every start; to run again, change \
              the annotation `dbrun.dev/rerun-requested-at`",
};
