"""The modality that captions name: right where one is named, and none where they leave a doubt."""

from __future__ import annotations

import pytest

from medtrinity25m.readers.modality_words import MAX_TEXT, OTHER, modalities_in

NAMED: dict[str, tuple[str, ...]] = {
    "ct": (
        "The image is a non-contrast computed tomography (CT) scan of the brain, showing the cerebral hemispheres.",
        "The image is a CT scan of the chest showing the lungs and heart.",
        "Axial contrast-enhanced CT of the abdomen demonstrates a hypodense mass in the pancreatic head (arrow).",
        "CT angiogram of the thorax showing a saddle pulmonary embolus.",
        "Coronary CT angiography demonstrating an anomalous right coronary artery.",
        "Computed tomography angiography (CTA) of the aorta with a type B dissection.",
        "Contrast-enhanced CT after endoscopic resection.",
        "Is this a CT or an MRI? ct",
        "ct scan of the abdomen",
        "Non-contrast head CT",
        "4D-CT of the thorax",
        "Unenhanced axial CT image through the kidneys shows a 5-mm calculus.",
        "Coronal reformatted multidetector CT scan showing bowel obstruction.",
        "CT-scan of the thorax.",
        "Cone-beam computed tomography of the mandible",
        "Treatment plan, dose distribution on CT.",
    ),
    "dermoscopy": (
        "Dermoscopic image of a melanoma with an atypical pigment network.",
        "The image is a dermatoscopic image of a skin lesion.",
    ),
    "endoscopy": (
        "Endoscopic view of a duodenal ulcer.",
        "Colonoscopy revealed a pedunculated polyp in the sigmoid colon.",
        "Bronchoscopic image of the left main bronchus.",
        "Lower GI endoscopy image",
        "Upper GI endoscopy showing esophageal varices",
        "The image is an endoscopic view of the colon.",
        "Cystoscopic view of the bladder tumor",
    ),
    "fundus": (
        "Fundus fluorescein angiography of the right eye shows leakage.",
        "Colour fundus photograph of the left eye with cotton wool spots.",
        "Optical coherence tomography of the macula with subretinal fluid",
        "Fundus of the left eye",
        "The image is a fundus photograph.",
        "Retinal OCT B-scan showing drusen",
    ),
    "histopathology": (
        "The image is a histopathological image of breast tissue stained with hematoxylin and eosin (H&E)",
        "Hematoxylin and eosin stain, x200: CT-guided biopsy shows adenocarcinoma.",
        "Photomicrograph of the resected tumor (H&E, original magnification ×400).",
        "Histological section of the liver showing steatosis.",
        "histology of what organ is shown? liver",
        "Histopathology showing granulomatous inflammation (hematoxylin-eosin, ×100).",
        "The image displays a histological slide with stained tissue",
    ),
    "microscopy": (
        "Immunofluorescence staining of podocytes for nephrin.",
        "Transmission electron micrograph of the glomerular basement membrane",
        "Peripheral blood smear showing blast cells.",
        "Confocal microscopy images of HeLa cells.",
        "Scanning electron microscopy of the biofilm.",
        "Bone marrow aspirate smear with Auer rods",
        "Electron micrograph.",
    ),
    "mri": (
        "The image is a magnetic resonance imaging (MRI) scan of the brain in the axial plane.",
        "MR angiogram of the circle of Willis.",
        "Magnetic resonance angiography showing stenosis of the basilar artery",
        "Sagittal T2-weighted image of the lumbar spine.",
        "Cardiac MRI, four chamber view, with late gadolinium enhancement.",
        "Axial FLAIR sequence demonstrating periventricular hyperintensities",
        "Is this an MRI? yes",
        "Magnetic resonance cholangiopancreatography demonstrating a stone.",
        "T1-weighted post-gadolinium sagittal MR image of the pituitary.",
        "Diffusion-weighted imaging with restricted diffusion in the left MCA territory.",
        "Left ventricular function measured by cardiac magnetic resonance imaging.",
        "MRI-T2 of the knee",
        "Gadolinium-enhanced MRA of the renal arteries",
    ),
    "pet": (
        "18F-FDG PET scan of the brain with temporal hypometabolism.",
        "Positron emission tomography of the chest shows an avid nodule",
        "The image is a PET scan highlighting regions of high metabolic activity.",
    ),
    "ultrasound": (
        "Endoscopic ultrasound showing a hypoechoic pancreatic mass.",
        "Transthoracic echocardiogram, apical four-chamber view.",
        "Color Doppler ultrasound of the thyroid.",
        "Endobronchial ultrasound (EBUS) image of a subcarinal node",
        "Abdominal ultrasonography revealing gallstones.",
        "Transverse sonogram of the right thyroid lobe.",
        "The image is an ultrasound of the breast with a hypoechoic mass",
        "Doppler echocardiography of the mitral valve.",
    ),
    "xray": (
        "This is a chest X-ray image showing both lungs",
        "Coronary angiogram showing occlusion of the left anterior descending artery.",
        "Digital subtraction angiography of the left internal carotid artery.",
        "Cerebral angiogram of the patient.",
        "Posteroanterior chest radiograph demonstrating cardiomegaly.",
        "Panoramic radiograph of the mandible.",
        "Mammogram, mediolateral oblique view, with clustered microcalcifications.",
        "What does the chest X-ray show? pneumonia",
        "Plain abdominal film with dilated bowel loops",
        "Barium swallow demonstrating achalasia.",
        "Lateral radiograph of the cervical spine.",
        "The image is a chest radiograph (X-ray) depicting the thoracic cavity",
    ),
}

DOUBTFUL = (
    "Angiogram of the patient.",
    "The patient has a flair for medicine.",
    "PET/CT showing FDG-avid mediastinal nodes.",
    "FDG-PET/CT maximum intensity projection",
    "Positron emission tomography/computed tomography showing uptake.",
    "SPECT-CT of the parathyroid.",
    "Bone scan showing increased uptake in the ribs.",
    "CT and MRI of the head at admission.",
    "(a) Chest radiograph. (b) CT of the chest.",
    "Axial arterial phase image of histologically proven hepatocellular carcinoma.",
    "Histology confirmed lymphoma in the mass on the right.",
    "CT scan showing a mass; histology revealed lymphoma.",
    "Clinical photograph and dermoscopy of the lesion.",
    "Mass in the gastric fundus.",
    "Intracoronary optical coherence tomography after stent placement.",
    "Optical coherence tomography of the vessel wall.",
    "Laparoscopic cholecystectomy port placement.",
    "Ultrasound-guided biopsy of the breast.",
    "Gross specimen of the kidney, with the CT correlate.",
    "Flowchart of patients who underwent CT.",
    "Kaplan-Meier curves by PET response.",
    "Micro-CT of the mouse femur.",
    "X-ray diffraction pattern of hydroxyapatite.",
    "The cT2N0 tumour was resected.",
    "Is this an MRI? No.",
    "Axial CT image. The MRI was obtained later.",
    "Fused image of the lesion on CT.",
    "T2 stage bladder carcinoma.",
    "ECG on admission, before chest X-ray.",
    "Ct values of the PCR assay.",
    "Preoperative CT (left) and intraoperative photograph (right).",
    "Histopathological examination confirmed the diagnosis.",
    "Immunohistochemistry for CD31 is positive in the tumor cells.",
    "Percutaneous transhepatic cholangiogram.",
    "Study flow diagram. MRI, magnetic resonance imaging.",
    "ROC curve for CT radiomics.",
    "The image is a microscopic view of tissue.",
    "Clinical appearance of the patient at presentation.",
    "Measurement of tumour volume on CT in each group. Error bars show SD.",
    "Representative images of immunofluorescence and Western blot.",
    "Chest X-ray showing bilateral infiltrates; CT confirmed PE.",
    "Hysterosalpingogram showing tubal occlusion",
    "Intravenous urogram.",
    "Axial slice of the head, bone window",
    "Ga-68 PSMA PET/CT scan",
    "PET-MRI of the brain",
    "Plot of CT number against density.",
    "Mean CT values per group",
    "No abnormality on MRI. Photomicrograph of the biopsy.",
    "Robot-assisted laparoscopic prostatectomy, trocar placement",
    "Fluorescence image of mouse liver",
    "Is there evidence of pneumothorax on this chest x-ray? no",
)


@pytest.mark.parametrize(("modality", "caption"), [(one, text) for one, texts in NAMED.items() for text in texts])
def test_a_caption_that_says_what_the_picture_is_gives_its_modality(modality, caption):
    """Captions in the manner of PubMed Central, ROCO, MedTrinity and of questions with their answers."""
    assert modalities_in(caption) == (modality,)


@pytest.mark.parametrize("caption", DOUBTFUL)
def test_a_caption_that_leaves_a_doubt_gives_no_modality(caption):
    """Two pictures in one, plots, photographs, what was done to the patient, what is asked, words of two meanings."""
    found = modalities_in(caption)
    assert len(found) != 1 or found == (OTHER,)


@pytest.mark.parametrize("piece", ["PET-", "histology ", "h & ", "is this ct ", "a-", "no ", "? is"])
def test_a_long_text_takes_no_time_and_is_no_caption(piece):
    """No word of the rule tries every way to read it."""
    modalities_in(piece * (MAX_TEXT // len(piece)))

    assert modalities_in("CT " * MAX_TEXT) == (OTHER,)
