//! Collecting problems: every one of a file is told together, each with its place. Nothing here stops the reading.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Range;
use std::rc::Rc;

use crate::model::settings::Problem;

/// What is wrong, without the place.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    message: String,
    expected: Option<String>,
    suggestion: Option<String>,
    hint: Option<String>,
    here: bool,
}

impl Trouble {
    /// A lowercase clause; it must not repeat a value that may be secret.
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), ..Self::default() }
    }

    /// It is this process's environment that lacks something.
    pub(super) fn here(mut self, is_here: bool) -> Self {
        self.here = is_here;
        self
    }

    /// What would have been right.
    pub(super) fn expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = Some(expected.into());
        self
    }

    /// The nearest valid name, if any is near.
    pub(super) fn suggest(mut self, name: Option<String>) -> Self {
        self.suggestion = name;
        self
    }

    /// What to do.
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// All problems and warnings of one reading.
#[derive(Debug)]
pub(super) struct Report {
    file: String,
    /// Byte offset at which each line begins.
    lines: Vec<usize>,
    /// Where the text was made of variables: the one behind each line.
    origins: Option<Vec<Option<String>>>,
    problems: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<Problem>>,
}

impl Report {
    pub(super) fn new(file: &str, text: &str) -> Rc<Self> {
        Rc::new(Self::blank(file, text))
    }

    fn blank(file: &str, text: &str) -> Self {
        let starts = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        let lines = std::iter::once(0).chain(starts).collect();
        Self { file: file.to_owned(), lines, origins: None, problems: RefCell::default(), warnings: RefCell::default() }
    }

    /// The report on a text that was made of variables; nobody has seen its lines, so each is told as the variable behind it.
    pub(super) fn of_variables(text: &str, origins: Vec<Option<String>>) -> Rc<Self> {
        Rc::new(Self { origins: Some(origins), ..Self::blank("environment", text) })
    }

    /// The problems and the warnings, in the file's order; what has no line comes last.
    pub(super) fn finish(&self) -> (Vec<Problem>, Vec<Problem>) {
        let sorted = |list: &RefCell<Vec<Problem>>| {
            let mut list = list.take();
            list.sort_by_key(|problem| problem.line.unwrap_or(usize::MAX));
            // What stands in [defaults] is found again with each project.
            let mut told = BTreeSet::new();
            list.retain(|problem| told.insert(problem.to_string()));
            list
        };
        (sorted(&self.problems), sorted(&self.warnings))
    }

    /// Whether anything was told that is wrong.
    pub(super) fn has_problems(&self) -> bool {
        !self.problems.borrow().is_empty()
    }

    /// Drops the problems of the lines in which these spans begin.
    pub(super) fn forget_lines(&self, spans: impl Iterator<Item = Range<usize>>) {
        let lines: Vec<usize> = spans.map(|span| self.line(span.start)).collect();
        self.problems.borrow_mut().retain(|problem| problem.line.is_none_or(|line| !lines.contains(&line)));
    }

    /// The variable that a line was made of.
    fn origin(&self, line: Option<usize>) -> Option<&str> {
        self.origins.as_ref()?.get(line?.checked_sub(1)?)?.as_deref()
    }

    fn line(&self, offset: usize) -> usize {
        self.lines.partition_point(|start| *start <= offset).max(1)
    }
}

/// A place in the file, or a variable of the environment, that problems can be told of.
#[derive(Debug, Clone)]
pub(super) struct Place {
    report: Rc<Report>,
    /// Set where the value comes from a variable.
    variable: bool,
    line: Option<usize>,
    section: Option<Rc<str>>,
    key: String,
}

impl Place {
    /// The file as a whole.
    pub(super) fn whole(report: &Rc<Report>) -> Self {
        Self { report: Rc::clone(report), variable: false, line: None, section: None, key: String::new() }
    }

    /// A variable of the environment.
    pub(super) fn variable(report: &Rc<Report>, name: &str) -> Self {
        Self { variable: true, key: name.to_owned(), ..Self::whole(report) }
    }

    /// The same key at another span of the text.
    pub(super) fn at(&self, span: &Range<usize>) -> Self {
        if self.variable {
            return self.clone();
        }
        Self { line: Some(self.report.line(span.start)), ..self.clone() }
    }

    /// A key within this one.
    pub(super) fn key(&self, name: &str) -> Self {
        if self.variable {
            return self.clone();
        }
        let key = if self.key.is_empty() { name.to_owned() } else { format!("{}.{name}", self.key) };
        Self { key, ..self.clone() }
    }

    /// A named thing within this one (`project "shop"`), whose keys begin anew.
    pub(super) fn within(&self, section: &str) -> Self {
        let section = match &self.section {
            Some(outer) => Rc::from(format!("{outer}: {section}")),
            None => Rc::from(section),
        };
        Self { section: Some(section), key: String::new(), ..self.clone() }
    }

    /// Tells a problem of this place.
    pub(super) fn problem(&self, trouble: Trouble) {
        self.report.problems.borrow_mut().push(self.told(trouble));
    }

    /// Tells something doubtful of this place.
    pub(super) fn warning(&self, trouble: Trouble) {
        self.report.warnings.borrow_mut().push(self.told(trouble));
    }

    /// Whether the value comes from the environment.
    pub(super) fn is_variable(&self) -> bool {
        self.variable || self.report.origin(self.line).is_some()
    }

    fn told(&self, trouble: Trouble) -> Problem {
        let origin = self.report.origin(self.line);
        let section = self.section.as_deref().map(str::to_owned).filter(|_| origin.is_none());
        let key = origin.unwrap_or(&self.key);
        Problem {
            file: if self.variable { String::from("environment") } else { self.report.file.clone() },
            line: self.line.filter(|_| self.report.origins.is_none()),
            section,
            key: (!key.is_empty()).then(|| key.to_owned()),
            message: trouble.message,
            expected: trouble.expected,
            suggestion: trouble.suggestion,
            hint: trouble.hint,
            here: trouble.here,
        }
    }
}

/// The name most like `wrong`, if one is near enough to be what was meant.
pub(super) fn nearest<'a>(wrong: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    let lower = wrong.to_lowercase();
    // Hostile input may be megabytes long; the comparison is quadratic.
    if lower.len() > 80 {
        return None;
    }
    let scored = names.map(|name| (strsim::jaro_winkler(&lower, &name.to_lowercase()), name));
    let best = scored.max_by(|one, two| one.0.total_cmp(&two.0))?;
    let close = strsim::damerau_levenshtein(&lower, &best.1.to_lowercase()) <= 2.max(lower.len() / 3);
    (best.0 >= 0.75 && close).then(|| best.1.to_owned())
}
