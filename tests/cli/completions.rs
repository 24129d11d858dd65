//! What bash offers where somebody presses the tabulator: asked of a real bash, with the script that packages bring.

use std::process::Command;

use crate::rig::Rig;

/// The words that bash completes the last one to.
fn offered(script: &str, words: &[&str]) -> Vec<String> {
    let line = format!(
        "source {script}; eval \"$(complete -p pgdumpd | sed 's/^complete //; s/.*-F \\([^ ]*\\) .*/offer=\\1/')\"
         COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); $offer pgdumpd \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"
         printf '%s\\n' \"${{COMPREPLY[@]}}\""
    );
    let output = Command::new("bash").args(["--norc", "-c", &line, "bash"]).args(words).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{words:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).lines().filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

#[test]
fn bash_offers_what_there_is_and_nothing_hidden() {
    let rig = Rig::new();
    let folder = rig.path().join("generated");
    assert_eq!(rig.run(&["generate", folder.to_str().unwrap()]).code, 0);
    let script = folder.join("completions/pgdumpd.bash").display().to_string();
    let verbs = offered(&script, &["pgdumpd", ""]);
    for verb in ["serve", "backup", "restore", "status", "help"] {
        assert!(verbs.iter().any(|word| word == verb), "{verb}: {verbs:?}");
    }
    assert_eq!(offered(&script, &["pgdumpd", "--v"]), ["--verbose", "--version"]);
    assert_eq!(offered(&script, &["pgdumpd", "sh"]), ["show"]);
    assert_eq!(offered(&script, &["pgdumpd", "--json", "ver"]), ["verify"]);
    assert_eq!(offered(&script, &["pgdumpd", "show", "--t"]), ["--tables", "--toc"]);
    assert_eq!(offered(&script, &["pgdumpd", "verify", "--level", ""]), ["checksum", "read", "restore"]);
    assert_eq!(offered(&script, &["pgdumpd", "restore", "--on-conflict", "s"]), ["skip"]);
    assert_eq!(offered(&script, &["pgdumpd", "notify", "t"]), ["test"]);
    // Where none of its words fits, bash offers files by itself.
    for words in [&["show", ""][..], &["restore", "./sh"], &["diff", "./a.dump", ""], &["check", "--config", "./sh"]] {
        assert_eq!(offered(&script, &[&["pgdumpd"], words].concat()), Vec::<String>::new(), "{words:?}");
    }
    for name in ["pgdumpd.bash", "_pgdumpd", "pgdumpd.fish"] {
        let text = std::fs::read_to_string(folder.join("completions").join(name)).unwrap();
        assert!(text.contains("restore") && !text.contains("generate"), "{name}");
    }
}
