//! A completion report: the same tasks and the same verdict wherever a result file is cut, and the
//! tasks are the rows that csv-core finds; any bytes are a `manifest.json` or none.

#![no_main]

use brigade::report::{DamagedReport, ReportManifest, ResultFile, ResultReader, Results};
use fuzz::{CUTS, md5, options, rows, same};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((cuts, text)) = options::<CUTS>(input) else { return };
    let _ = ReportManifest::read("report/manifest.json", text);

    let file = ResultFile {
        task_execution_status: "succeeded".to_owned(),
        key: "report/results/1.csv".parse().expect("a key"),
        md5: md5(text),
    };
    let (tasks, results, verdict) = same(text, cuts, |chunks| {
        let (mut tasks, mut results) = (Vec::new(), Results::default());
        let mut each = |task: brigade::report::TaskResult<'_>| {
            tasks.push([task.bucket, task.encoded_key, task.version, task.message].map(str::to_owned));
            results.count(&task);
        };
        let mut reader = ResultReader::new(&file);
        let verdict = chunks
            .iter()
            .try_for_each(|chunk| reader.push(chunk, &mut each))
            .and_then(|()| reader.finish(&mut each));
        (tasks, results, verdict)
    });
    assert_eq!(results.succeeded + results.failed, tasks.len() as u64);
    let expected = rows(text);
    for (task, row) in tasks.iter().zip(&expected) {
        let row = [0, 1, 2, 6].map(|at| row[at].clone());
        assert_eq!(task.each_ref().map(|cell| cell.clone().into_bytes()), row);
    }
    match verdict {
        Ok(()) => assert_eq!(tasks.len(), expected.len()),
        Err(DamagedReport::Row { .. }) => assert!(tasks.len() < expected.len()),
        Err(other) => panic!("{other}"),
    }
});
