// Asks the judge what has a known answer, each time by both of its ways.
//
//     node selftest.mjs NODE_MODULES

import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import process from 'node:process';

const SOURCE = '111111111111';
const DESTINATION = '222222222222';
const REGION = 'eu-west-1';
const BATCH = `arn:aws:iam::${DESTINATION}:role/bb-batch`;
const SESSION = `arn:aws:sts::${DESTINATION}:assumed-role/bb-batch/job`;
const STRANGER = `arn:aws:iam::${DESTINATION}:role/stranger`;
const CREATE = `arn:aws:iam::${DESTINATION}:role/bb-create-job`;
const FORWARD = `arn:aws:iam::${SOURCE}:role/forward`;
const SRC = 'arn:aws:s3:::src';
const DST = 'arn:aws:s3:::dst';
const WORK = 'arn:aws:s3:::work';
const KEY = `arn:aws:kms:${REGION}:${SOURCE}:key/1234abcd-12ab-34cd-56ef-1234567890ab`;
const OWN_KEY = `arn:aws:kms:${REGION}:${DESTINATION}:key/9876abcd-12ab-34cd-56ef-1234567890ab`;
const JOB = `arn:aws:s3:${REGION}:${DESTINATION}:job/ed5a4c57-31e5-4b8b-8d31-dd3d9bb1ac13`;
const BUS = `arn:aws:events:${REGION}:${DESTINATION}:event-bus/inventories`;
const TOPIC = `arn:aws:sns:${REGION}:${DESTINATION}:bb-topic`;
const MACHINE = `arn:aws:states:${REGION}:${DESTINATION}:stateMachine:bb-transfer`;

const NOW = '2026-11-21T12:00:00Z';
const LIST = ['s3:ListBucket', 's3:ListBucketVersions'];
const READ = [
    ...['s3:GetObject', 's3:GetObjectVersion', 's3:RestoreObject'],
    ...['s3:GetObjectTagging', 's3:GetObjectVersionTagging'],
];
const VIA = { 'kms:ViaService': `s3.${REGION}.amazonaws.com` };
const viaS3 = (arn) => ({ ...VIA, 'kms:EncryptionContext:aws:s3:arn': arn });

const policy = (...Statement) => ({ Version: '2012-10-17', Statement });
const allow = (Sid, Action, Resource, Condition, Principal) => ({
    ...{ Sid, Effect: 'Allow', Action },
    ...(Resource && { Resource }),
    ...(Condition && { Condition }),
    ...(Principal && { Principal }),
});
const deny = (...parts) => ({ ...allow(...parts), Effect: 'Deny' });
const byBatch = { AWS: BATCH };
const decryptThrough = (bucket) => ({
    StringEquals: VIA,
    StringLike: { 'kms:EncryptionContext:aws:s3:arn': [bucket, `${bucket}/*`] },
});
const root = (account) => allow('Root', 'kms:*', '*', undefined, { AWS: `arn:aws:iam::${account}:root` });

const identity = policy(
    allow('ListSource', LIST, SRC, { StringEquals: { 'aws:ResourceAccount': SOURCE } }),
    allow('ReadSource', READ, `${SRC}/*`),
    allow('DecryptSource', 'kms:Decrypt', KEY, decryptThrough(SRC)),
    allow(
        'Write',
        ['s3:PutObject', 's3:PutObjectTagging', 's3:PutObjectAcl', 's3:AbortMultipartUpload'],
        `${DST}/in/*`,
    ),
    allow('EncryptCopies', ['kms:GenerateDataKey', 'kms:Decrypt'], OWN_KEY, { StringEquals: VIA }),
);
const ends = { DateLessThan: { 'aws:CurrentTime': '2026-12-01T00:00:00Z' } };
const bucketPolicy = policy(
    allow('BrigadeList', LIST, SRC, ends, byBatch),
    allow('BrigadeRead', READ, `${SRC}/*`, ends, byBatch),
    deny('OnlyTls', 's3:*', [SRC, `${SRC}/*`], { Bool: { 'aws:SecureTransport': 'false' } }, '*'),
    deny('Secret', 's3:GetObject', `${SRC}/secret/*`, undefined, '*'),
);
const resourcePolicies = {
    [SRC]: bucketPolicy,
    [KEY]: policy(root(SOURCE), allow('BrigadeDecrypt', 'kms:Decrypt', '*', decryptThrough(SRC), byBatch)),
    [OWN_KEY]: policy(root(DESTINATION)),
};
const principal = { arn: BATCH, account: DESTINATION };
const accounts = { [SRC]: SOURCE, [DST]: DESTINATION, [WORK]: DESTINATION };
const batch = {
    principal,
    identityPolicies: [{ name: 'batch', policy: identity }],
    resourcePolicies,
    accounts,
};
const service = (name, policies) => ({ principal: { service: name }, resourcePolicies: policies, accounts });
const trust = {
    [BATCH]: policy(
        allow(
            'Jobs',
            'sts:AssumeRole',
            undefined,
            { StringEquals: { 'aws:SourceAccount': DESTINATION } },
            { Service: 'batchoperations.s3.amazonaws.com' },
        ),
        allow('Functions', 'sts:AssumeRole', undefined, undefined, { AWS: CREATE }),
    ),
};
const delivery = policy(
    allow(
        'DeliverInventory',
        's3:PutObject',
        `${WORK}/inventory/*`,
        {
            StringEquals: { 'aws:SourceAccount': SOURCE, 's3:x-amz-acl': 'bucket-owner-full-control' },
            ArnLike: { 'aws:SourceArn': SRC },
        },
        { Service: 's3.amazonaws.com' },
    ),
);
const create = policy(
    allow('Create', 's3:CreateJob', '*'),
    allow('Steer', ['s3:DescribeJob', 's3:UpdateJobStatus'], `arn:aws:s3:${REGION}:${DESTINATION}:job/*`),
    allow('Pass', 'iam:PassRole', BATCH),
    allow('Act', 'sts:AssumeRole', BATCH),
    allow('Tell', 'sns:Publish', TOPIC),
    allow('Start', ['states:StartExecution', 'states:SendTaskSuccess'], MACHINE),
);
// An event has one source, but the key is a list to AWS.
const fromS3 = { 'ForAllValues:StringEquals': { 'events:source': 'aws.s3' } };
const withBucketPolicy = (...statements) => ({
    resourcePolicies: { ...resourcePolicies, [SRC]: policy(...statements) },
});
const worlds = {
    batch,
    // The bucket grants nothing, the key nothing to another account.
    bare: {
        ...batch,
        resourcePolicies: { [KEY]: policy(root(SOURCE)), [OWN_KEY]: policy(root(DESTINATION)) },
    },
    stranger: { ...batch, principal: { arn: STRANGER } },
    // A role that was made again is another principal.
    orphaned: {
        ...batch,
        ...withBucketPolicy(
            allow('BrigadeRead', READ, `${SRC}/*`, undefined, { AWS: 'AROAIIII5EXAMPLE3Q4RZ' }),
        ),
    },
    byName: {
        ...batch,
        ...withBucketPolicy(
            allow('ByName', READ, `${SRC}/*`, { ArnEquals: { 'aws:PrincipalArn': BATCH } }, '*'),
        ),
    },
    bounded: { ...batch, boundary: policy(allow('Bound', 's3:*', '*')) },
    scp: {
        ...batch,
        scps: [
            [
                { name: 'full', policy: policy(allow('Full', '*', '*')) },
                { name: 'noList', policy: policy(deny('NoList', 's3:ListBucket', '*')) },
            ],
        ],
    },
    public: {
        ...batch,
        ...withBucketPolicy(
            ...bucketPolicy.Statement,
            allow('Anyone', 's3:GetObject', `${SRC}/public/*`, undefined, '*'),
        ),
        restrictPublicBuckets: [SRC],
    },
    inventory: service('s3.amazonaws.com', { [WORK]: delivery }),
    jobs: service('batchoperations.s3.amazonaws.com', trust),
    create: {
        principal: { arn: CREATE },
        identityPolicies: [{ name: 'create', policy: create }],
        resourcePolicies: trust,
        accounts,
    },
    forward: {
        principal: { arn: FORWARD },
        identityPolicies: [{ name: 'forward', policy: policy(allow('Send', 'events:PutEvents', BUS)) }],
        resourcePolicies: {
            [BUS]: policy(allow('Receive', 'events:PutEvents', BUS, fromS3, { AWS: FORWARD })),
        },
    },
    misspelt: {
        principal,
        identityPolicies: [
            {
                name: 'oops',
                policy: policy(
                    allow('Oops', 's3:GetObjekt', `${SRC}/*`, {
                        StringEquals: { 'aws:ResourceAcount': SOURCE },
                    }),
                ),
            },
        ],
    },
    unsaveable: {
        principal,
        resourcePolicies: {
            [SRC]: policy(
                allow(
                    'Bob',
                    's3:GetObject',
                    'arn:aws:s3:::other/*',
                    { StringEqual: { 'aws:SourceAccount': SOURCE } },
                    { AWS: 'bob' },
                ),
                allow(
                    'Late',
                    's3:GetObject',
                    `${SRC}/*`,
                    { DateLessThan: { 'aws:CurrentTime': '2026-13-01' } },
                    byBatch,
                ),
            ),
        },
    },
    misplaced: {
        ...batch,
        ...withBucketPolicy(allow('Oops', 's3:ListBucket', `${SRC}/*`, undefined, byBatch)),
    },
};

const ALLOWED = 'Allowed';
const IMPLICITLY = 'ImplicitlyDenied';
const EXPLICITLY = 'ExplicitlyDenied';
const error = (text) => ({ error: text });
const calls = { 'aws:CurrentTime': NOW, 'aws:SecureTransport': 'true' };
const delivers = {
    'aws:SourceAccount': SOURCE,
    'aws:SourceArn': SRC,
    's3:x-amz-acl': 'bucket-owner-full-control',
};
const late = { ...calls, 'aws:CurrentTime': '2026-12-01T00:00:00Z' };

const expected = [
    // [world, action, resource, context, answer, more of the question]
    ['batch', 's3:ListBucket', SRC, { ...calls, 's3:prefix': 'a/' }, ALLOWED],
    ['batch', 's3:ListBucketVersions', SRC, calls, ALLOWED],
    ['batch', 's3:GetObject', `${SRC}/a/b c+ü?.txt`, calls, ALLOWED],
    ['batch', 's3:GetObjectVersion', `${SRC}/a`, { ...calls, 's3:VersionId': 'v1' }, ALLOWED],
    ['batch', 's3:GetObjectTagging', `${SRC}/a`, calls, ALLOWED],
    ['batch', 's3:GetObjectVersionTagging', `${SRC}/a`, calls, ALLOWED],
    ['batch', 's3:RestoreObject', `${SRC}/a`, calls, ALLOWED],
    ['batch', 's3:GetObjectAcl', `${SRC}/a`, calls, IMPLICITLY],
    ['batch', 's3:GetObject', `${SRC}/secret/a`, calls, EXPLICITLY],
    ['batch', 's3:GetObject', `${SRC}/a`, { ...calls, 'aws:SecureTransport': 'false' }, EXPLICITLY],
    ['batch', 's3:GetObject', `${SRC}/a`, late, IMPLICITLY],
    ['batch', 's3:GetObject', `${SRC}/a`, calls, IMPLICITLY, { without: ['BrigadeRead'] }],
    ['batch', 's3:GetObject', `${SRC}/a`, calls, IMPLICITLY, { without: ['ReadSource'] }],
    ['batch', 's3:GetObject', `${SRC}/a`, calls, IMPLICITLY, { without: [`${SRC}#BrigadeRead`] }],
    [
        'batch',
        's3:GetObject',
        `${SRC}/a`,
        calls,
        error('no statement has the Sid batch#BrigadeRead'),
        { without: ['batch#BrigadeRead'] },
    ],
    ['batch', 's3:GetObject', `${SRC}/secret/a`, calls, ALLOWED, { without: ['Secret'] }],
    ['batch', 's3:GetObject', `${SRC}/a`, calls, IMPLICITLY, { principal: { arn: STRANGER } }],
    ['batch', 's3:GetObject', `${SRC}/a`, calls, ALLOWED, { principal: { arn: SESSION } }],
    ['byName', 's3:GetObject', `${SRC}/a`, {}, ALLOWED],
    ['byName', 's3:GetObject', `${SRC}/a`, {}, ALLOWED, { principal: { arn: SESSION } }],
    ['byName', 's3:GetObject', `${SRC}/a`, {}, IMPLICITLY, { principal: { arn: STRANGER } }],
    ['stranger', 's3:GetObject', `${SRC}/a`, calls, IMPLICITLY],
    ['orphaned', 's3:GetObject', `${SRC}/a`, {}, IMPLICITLY],
    ['bare', 's3:GetObject', `${SRC}/a`, {}, IMPLICITLY],
    // The library fills in no aws:ResourceAccount; the judge does.
    ['batch', 's3:ListBucket', SRC, { ...calls, 'aws:ResourceAccount': '333333333333' }, IMPLICITLY],
    ['batch', 's3:ListBucket', SRC, { ...calls, 'aws:ResourceAccount': null }, IMPLICITLY],

    ['batch', 'kms:Decrypt', KEY, viaS3(`${SRC}/a/b`), ALLOWED],
    ['batch', 'kms:Decrypt', KEY, viaS3(SRC), ALLOWED],
    ['batch', 'kms:Decrypt', KEY, viaS3('arn:aws:s3:::src-other/a'), IMPLICITLY],
    [
        'batch',
        'kms:Decrypt',
        KEY,
        { ...viaS3(`${SRC}/a`), 'kms:ViaService': 's3.us-east-1.amazonaws.com' },
        IMPLICITLY,
    ],
    ['batch', 'kms:Decrypt', KEY, { 'kms:EncryptionContext:aws:s3:arn': `${SRC}/a` }, IMPLICITLY],
    ['batch', 'kms:Decrypt', KEY, {}, IMPLICITLY],
    ['batch', 'kms:GenerateDataKey', KEY, viaS3(`${SRC}/a`), IMPLICITLY],
    ['stranger', 'kms:Decrypt', KEY, viaS3(`${SRC}/a`), IMPLICITLY],
    ['bare', 'kms:Decrypt', KEY, viaS3(`${SRC}/a`), IMPLICITLY],
    ['batch', 'kms:GenerateDataKey', OWN_KEY, viaS3(`${DST}/in/a`), ALLOWED],
    ['batch', 'kms:GenerateDataKey', OWN_KEY, viaS3(`${DST}/in/a`), IMPLICITLY, { without: ['Root'] }],
    [
        'batch',
        'kms:GenerateDataKey',
        OWN_KEY,
        viaS3(`${DST}/in/a`),
        IMPLICITLY,
        { without: ['EncryptCopies'] },
    ],

    ['batch', 's3:PutObject', `${DST}/in/a`, { 's3:x-amz-server-side-encryption': 'aws:kms' }, ALLOWED],
    ['batch', 's3:PutObjectAcl', `${DST}/in/a`, { 's3:x-amz-acl': 'bucket-owner-full-control' }, ALLOWED],
    ['batch', 's3:AbortMultipartUpload', `${DST}/in/a`, {}, ALLOWED],
    ['batch', 's3:PutObject', `${DST}/out/a`, {}, IMPLICITLY],
    ['bounded', 's3:GetObject', `${SRC}/a`, calls, ALLOWED],
    ['bounded', 'kms:Decrypt', KEY, viaS3(`${SRC}/a`), IMPLICITLY],
    ['bounded', 's3:GetObject', `${SRC}/a`, calls, IMPLICITLY, { without: ['Bound'] }],
    ['scp', 's3:ListBucket', SRC, calls, EXPLICITLY],
    ['scp', 's3:ListBucketVersions', SRC, calls, ALLOWED],
    ['public', 's3:GetObject', `${SRC}/a`, calls, EXPLICITLY],
    ['public', 's3:ListBucket', SRC, calls, EXPLICITLY],
    ['public', 's3:ListBucket', SRC, calls, ALLOWED, { without: ['Anyone'] }],

    ['inventory', 's3:PutObject', `${WORK}/inventory/src/daily/data/a.csv.gz`, delivers, ALLOWED],
    ['inventory', 's3:PutObject', `${WORK}/transfers/a`, delivers, IMPLICITLY],
    [
        'inventory',
        's3:PutObject',
        `${WORK}/inventory/a`,
        { ...delivers, 'aws:SourceAccount': DESTINATION },
        IMPLICITLY,
    ],
    [
        'inventory',
        's3:PutObject',
        `${WORK}/inventory/a`,
        { ...delivers, 'aws:SourceArn': `${SRC}-other` },
        IMPLICITLY,
    ],
    ['inventory', 's3:PutObject', `${WORK}/inventory/a`, { ...delivers, 's3:x-amz-acl': null }, IMPLICITLY],
    [
        'inventory',
        's3:PutObject',
        `${WORK}/inventory/a`,
        delivers,
        IMPLICITLY,
        { principal: { service: 'sns.amazonaws.com' } },
    ],
    ['jobs', 'sts:AssumeRole', BATCH, { 'aws:SourceAccount': DESTINATION }, ALLOWED],
    ['jobs', 'sts:AssumeRole', BATCH, { 'aws:SourceAccount': SOURCE }, IMPLICITLY],
    ['create', 'sts:AssumeRole', BATCH, {}, ALLOWED],
    ['create', 'sts:AssumeRole', BATCH, {}, IMPLICITLY, { without: ['Functions'] }],
    ['create', 'sts:AssumeRole', BATCH, {}, ALLOWED, { without: ['Act'] }], // named by the trust policy of its own account
    ['create', 'iam:PassRole', BATCH, {}, ALLOWED],
    ['create', 'iam:PassRole', STRANGER, {}, IMPLICITLY],
    ['create', 's3:CreateJob', '*', { 's3:RequestJobOperation': 'S3PutObjectCopy' }, ALLOWED],
    ['create', 's3:DescribeJob', JOB, {}, ALLOWED],
    ['create', 's3:UpdateJobStatus', JOB, {}, ALLOWED],
    ['create', 's3:DescribeJob', JOB.replace(REGION, 'us-east-1'), {}, IMPLICITLY],
    ['create', 'sns:Publish', TOPIC, {}, ALLOWED],
    ['create', 'states:StartExecution', MACHINE, {}, ALLOWED],
    ['create', 'states:SendTaskSuccess', '*', {}, IMPLICITLY], // an action about no resource is allowed on * only
    ['forward', 'events:PutEvents', BUS, { 'events:source': 'aws.s3' }, ALLOWED],
    ['forward', 'events:PutEvents', BUS, { 'events:source': 'aws.ec2' }, IMPLICITLY],
    ['forward', 'events:PutEvents', BUS, { 'events:source': 'aws.s3' }, IMPLICITLY, { without: ['Receive'] }],

    ['batch', 's3:GetObjekt', `${SRC}/a`, calls, error('there is no action s3:GetObjekt')],
    ['batch', 's3:getObject', `${SRC}/a`, calls, error('is spelt s3:GetObject')],
    ['batch', 's3:GetObject', SRC, calls, error('no resource of s3:GetObject')],
    ['batch', 's3:GetObject', '*', calls, error('no resource of s3:GetObject')],
    ['batch', 's3:GetObject', `${SRC}/*`, calls, error('as a pattern only')],
    ['create', 's3:CreateJob', JOB, {}, error('about no resource')],
    [
        'batch',
        's3:GetObject',
        `${SRC}/a`,
        { ...calls, 'aws:SecureTransprt': 'true' },
        error('no condition key aws:SecureTransprt'),
    ],
    [
        'batch',
        's3:GetObject',
        `${SRC}/a`,
        { ...calls, 's3:prefix': '' },
        error('s3:GetObject carries no s3:prefix'),
    ],
    [
        'batch',
        's3:GetObject',
        `${SRC}/a`,
        { ...calls, 'aws:CurrentTime': 'tomorrow' },
        error('tomorrow is no date'),
    ],
    [
        'batch',
        's3:GetObject',
        `${SRC}/a`,
        { 'aws:SecureTransport': 'true' },
        error('asks for aws:currenttime'),
    ],
    [
        'batch',
        's3:GetObject',
        `${SRC}/a`,
        calls,
        error('no statement has the Sid BrigadeReed'),
        { without: ['BrigadeReed'] },
    ],
    ['batch', 's3:GetObject', 'arn:aws:s3:::unheard-of/a', calls, error('lacks resourceAccount')],
    [
        'batch',
        's3:GetObject',
        `${SRC}/a`,
        calls,
        error('is not of the account'),
        { resourceAccount: DESTINATION },
    ],
    ['batch', 'kms:Decrypt', `${KEY}0`, VIA, error('lacks that of')],
    ['batch', 'sts:AssumeRole', STRANGER, {}, error('lacks that of')],
    ['batch', 's3:GetObject', `${SRC}/a`, calls, error('has no field contxt'), { contxt: {} }],
    ['nowhere', 's3:GetObject', `${SRC}/a`, calls, error('no world nowhere')],
    [
        'misspelt',
        's3:GetObject',
        `${SRC}/a`,
        calls,
        error('no action s3:GetObjekt; oops: Oops: there is no condition key aws:ResourceAcount'),
    ],
    ['unsaveable', 's3:GetObject', `${SRC}/a`, calls, error('Bob: bob is no principal')],
    ['unsaveable', 's3:GetObject', `${SRC}/a`, calls, error('Bob: there is no operator StringEqual')],
    [
        'unsaveable',
        's3:GetObject',
        `${SRC}/a`,
        calls,
        error('Bob: arn:aws:s3:::other/* is not of this bucket'),
    ],
    ['unsaveable', 's3:GetObject', `${SRC}/a`, calls, error('Late: 2026-13-01 is no date')],
    ['misplaced', 's3:ListBucket', SRC, calls, error('s3:ListBucket does not apply to its resources')],
];

const lines = [
    ...Object.entries(worlds).map(([world, said]) => ({ world, ...said })),
    ...expected.map(([world, action, resource, context, , more], ask) => ({
        ask,
        world,
        action,
        resource,
        context,
        ...more,
    })),
];
const { stdout, stderr, status } = spawnSync(
    process.execPath,
    [fileURLToPath(new URL('simulate.mjs', import.meta.url)), process.argv[2] ?? '', '--double-check'],
    { input: lines.map((line) => JSON.stringify(line)).join('\n'), encoding: 'utf8' },
);
const answers = stdout
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line));
let wrong = 0;
for (const [ask, [world, action, resource, context, answer, more]] of expected.entries()) {
    const { decision, error: why } = answers.find((one) => one.ask === ask) ?? {};
    const right = answer.error
        ? decision === null && why?.includes(answer.error)
        : decision === answer && why === null;
    if (!right) {
        wrong += 1;
        console.error(`${world}: ${action} ${resource} ${JSON.stringify({ ...context, ...more })}`);
        console.error(`  expected ${JSON.stringify(answer)}, heard ${JSON.stringify(why ?? decision)}`);
    }
}
if (status !== 0 || answers.length !== expected.length) {
    console.error(
        `${stderr}${answers.length} answers to ${expected.length} questions; it left with ${status}`,
    );
    wrong += 1;
}
console.log(`${expected.length} questions, ${wrong} wrong`);
process.exitCode = wrong ? 1 : 0;
